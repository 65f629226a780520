"""How many threads numerical libraries use. A zygote must have one thread, so it loads them with one. An instance uses as
many as the processors that core gives it."""

import ctypes
import os
import re
import sys

LIBRARY = re.compile(r"(openblas|blis|mkl_rt|gomp|iomp5|libomp)", re.IGNORECASE)
# Functions that set the number, by kind of library, and the variables that a user sets it with, the first that is set.
KINDS = {
    "openblas": ([f"{prefix}openblas_set_num_threads{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")],
                 ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")),
    "blis": (["bli_thread_set_num_threads"], ("BLIS_NUM_THREADS", "OMP_NUM_THREADS")),
    "mkl_rt": (["MKL_Set_Num_Threads"], ("MKL_NUM_THREADS", "OMP_NUM_THREADS")),
    "omp": (["omp_set_num_threads"], ("OMP_NUM_THREADS",)),
}
MODULES = {"torch": ("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "numexpr": ("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS")}  # with a function set_num_threads

_setters = {}  # what sets the number, and its variables, by the path of the library


def find():
    """Looks for libraries that are loaded. What a zygote has found its children have."""
    with open("/proc/self/maps") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if LIBRARY.search(line)}
    for path in paths - set(_setters):
        found = LIBRARY.search(os.path.basename(path))
        if not found or ".so" not in path:
            continue
        functions, variables = KINDS.get(found[1].lower(), KINDS["omp"])
        try:
            library = ctypes.CDLL(path, os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
        setter = next((getattr(library, name) for name in functions if hasattr(library, name)), None)
        if setter is not None:
            _setters[path] = (setter, variables)


def use(processors):
    """Sets the number for what is loaded."""
    for setter, variables in _setters.values():
        setter(ctypes.c_int(number(variables, processors)))
    for name, variables in MODULES.items():
        setter = getattr(sys.modules.get(name), "set_num_threads", None)
        if setter is not None:
            setter(number(variables, processors))


def number(variables, processors):
    for name in variables:
        value = os.environ.get(name, "").partition(",")[0].strip()
        if value.isdigit() and int(value) > 0:
            return int(value)
    return processors
