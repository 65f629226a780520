"""What the Python driver runs in an installer's sandbox: resolve a function's packages, install them, or compile them.

Started as `python3 -I -S installer.py REQUEST…`, REQUEST being JSON in one or more pieces. Answers over descriptor 3, one JSON packet a message:
any number of {"progress": ...}, then {"result": ...} or {"error": ...}.
"""

import json
import os
import sys
import traceback

sys.path += [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__)) + "/loop"]  # -I leaves this file's directory out

from answer import Refused, of_disk, say  # noqa: E402
from bytecode import Compilers, sources, worth_compiling  # noqa: E402

CODE, PACKAGES, OUT = "/function", "/packages", "/out"


def resolve(request):
    from _pipsqueak.order import ALL, own_files, sets_of
    from imports import imports_of, shadows

    packages, names = [], request["locked"]
    with Compilers() as compilers:
        for file in sources(CODE):
            compilers.compile(file)
        if names is None:
            from manifest import lock
            from uv import CACHE

            packages = lock(CODE, request.get("allow") or [])
            names = [package["name"] for package in packages]
            hand_over(CACHE)
    module = request["handler"].rpartition(".")[0].replace("/", ".")
    imports, perhaps = imports_of(CODE, module, set(names))
    sets = sets_of(CODE, module, lambda name: own_files(CODE, name), shadows(CODE, set(names)))
    return {"packages": packages, "imports": imports, "perhaps": [] if ALL in sets else perhaps, "sets": sets}


def hand_over(directory):
    """Lets the user of the installation, who is another one, use what resolving has left."""
    for below, directories, names in os.walk(directory):
        for path in [os.path.join(below, name) for name in directories + names]:
            if not os.path.islink(path):
                os.chmod(path, 0o777 if os.path.isdir(path) else 0o666)


def install(request):
    from packages import install_all

    return {"receipts": install_all(request.get("packages") or [])}


def compile_packages(request):
    with Compilers() as compilers:
        for package in request["packages"]:
            for file in worth_compiling(f"{PACKAGES}/{package['name']}-{package['version']}"):
                compilers.compile(file, OUT + file.removeprefix(PACKAGES))
    return {}


if __name__ == "__main__":
    request = json.loads(b"".join(map(os.fsencode, sys.argv[1:])))
    try:
        say({"result": {"resolve": resolve, "install": install, "compile": compile_packages}[request["op"]](request)})
    except Refused as refused:
        say({"error": refused.reply})
    except OSError as error:
        say({"error": of_disk(request["op"], error).reply})
    except Exception:
        say({"error": Refused("internal", "driver", f"{request['op']}: {traceback.format_exc()}").reply})
