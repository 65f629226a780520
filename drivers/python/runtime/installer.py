"""What the Python driver runs in an installer's sandbox: resolve a function's packages, or install them.

Started as `python3 -I -S installer.py REQUEST…`, REQUEST being JSON in one or more pieces. Answers over descriptor 3, one JSON packet a message:
any number of {"progress": ...}, then {"result": ...} or {"error": ...}.
"""

import json
import os
import sys

sys.path.append(os.path.dirname(__file__))  # -I leaves this file's directory out

from pipsqueak_answer import Refused, of_disk, say  # noqa: E402
from pipsqueak_bytecode import Compilers, sources  # noqa: E402

CODE = "/function"


def resolve(request):
    from pipsqueak_imports import imports_of
    from pipsqueak_manifest import lock

    packages, names = [], request["locked"]
    with Compilers() as compilers:
        for file in sources(CODE):
            compilers.compile(file, file)
        if names is None:
            packages = lock(CODE, request.get("allow") or [])
            names = [package["name"] for package in packages]
    module = request["handler"].rpartition(".")[0]
    return {"packages": packages, "imports": imports_of(CODE, module, set(names))}


def install(request):
    from pipsqueak_packages import install_all

    return {"receipts": install_all(request.get("packages") or [])}


if __name__ == "__main__":
    request = json.loads(b"".join(map(os.fsencode, sys.argv[1:])))
    try:
        say({"result": {"resolve": resolve, "install": install}[request["op"]](request)})
    except Refused as refused:
        say({"error": refused.reply})
    except OSError as error:
        say({"error": of_disk(request["op"], error).reply})
