"""Which environment variables are read while something is imported: through os.environ, and by C code."""

import ctypes
import os

ALL = "*"
# What is set again for each instance, or has to be there when the interpreter starts.
OURS = ("PYTHON", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")

PRELOAD = os.path.dirname(__file__) + "/preload.so"  # its getenv is the one that C code calls

Environment = type(os.environ)


class Watch:
    """A context in which reads has the names of the variables that were read, ALL when somebody has looked at all of them."""

    def __enter__(self):
        self.reads = set()
        self.was = {name: Environment.__dict__.get(name) for name in ("__getitem__", "__contains__", "__iter__", "copy")}
        get, iterate = self.was["__getitem__"], self.was["__iter__"]

        def watched(environment, key):
            self.note(key)
            return get(environment, key)

        def contains(environment, key):
            self.note(key)
            try:
                get(environment, key)
            except KeyError:
                return False
            return True

        def watched_all(environment):
            self.reads.add(ALL)
            return iterate(environment)

        def copy(environment):
            self.reads.add(ALL)
            return {key: get(environment, key) for key in iterate(environment)}

        Environment.__getitem__, Environment.__contains__, Environment.__iter__, Environment.copy = watched, contains, watched_all, copy
        self.preload = ctypes.CDLL(PRELOAD)
        self.preload.ps_watched.restype = ctypes.c_char_p
        self.preload.ps_watch()
        return self

    def note(self, key):
        name = os.fsdecode(key) if isinstance(key, (str, bytes)) else ""
        if name and not name.startswith(OURS):
            self.reads.add(name)

    def __exit__(self, *_):
        for name in self.preload.ps_watched().splitlines():
            self.note(name)
        for name, method in self.was.items():
            if method is None:
                delattr(Environment, name)
            else:
                setattr(Environment, name, method)
        if ALL in self.reads:  # who has looked at all has read each that is there
            self.reads -= set(os.environ)
