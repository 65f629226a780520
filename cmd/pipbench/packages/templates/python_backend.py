"""Builds the wheel of this artificial package, and takes the processor's time that its installation costs."""
import base64
import hashlib
import os
import time
import zipfile

INFO = "{{module .Package.Name}}-{{.Version.Number}}.dist-info"
WHEEL = "{{module .Package.Name}}-{{.Version.Number}}-py3-none-any.whl"


def metadata(directory):
    os.mkdir(os.path.join(directory, INFO))
    with open("PKG-INFO", "rb") as source, open(os.path.join(directory, INFO, "METADATA"), "wb") as copy:
        copy.write(source.read())
    with open(os.path.join(directory, INFO, "WHEEL"), "w") as out:
        out.write({{json .Wheel}})


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    metadata(directory)
    return INFO


def build_wheel(directory, config_settings=None, metadata_directory=None):
    until = time.process_time_ns() + {{.InstallNanoseconds}}
    os.mkdir("build")
    metadata("build")
    record = []
    with zipfile.ZipFile(os.path.join(directory, WHEEL), "w") as wheel:
        for top in ("src", "build"):
            for parent, _, names in os.walk(top):
                for name in names:
                    path = os.path.join(parent, name)
                    with open(path, "rb") as source:
                        content = source.read()
                    inside = os.path.relpath(path, top)
                    wheel.writestr(inside, content)
                    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                    record.append(f"{inside},sha256={digest},{len(content)}\n")
        wheel.writestr(INFO + "/RECORD", "".join(record) + INFO + "/RECORD,,\n")
    while time.process_time_ns() < until:
        sum(range(1000))
    return WHEEL
