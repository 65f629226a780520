"""Looks for attestations of archives (PEP 740) and has them checked, while the archives are on their way."""

import json
import os
import subprocess
import threading
import time

from answer import Refused

SCHEME = "PEP 740"
TOOLS = "/pipsqueak/tools/attestations"
# The interpreter that the tools were installed for, whatever the runtime is.
PYTHON = "/usr/bin/python3"
AT_ONCE = 32  # requests; nearly all of the time the index is waited for
PATIENCE = 15  # seconds for the index to answer once everything else is done


class Signatures:
    """Asks the indexes about all packages, some at once, from when it is made. Why there is no attestation of a package is in lacking, from when it
    has been asked for."""

    def __init__(self, packages):
        self.packages, self.found, self.lacking = packages, {}, {}
        self.waiting = list(packages)
        self.threads = [threading.Thread(target=self.look, daemon=True) for _ in range(min(AT_ONCE, len(packages)))]
        for thread in self.threads:
            thread.start()

    def look(self):
        while True:
            try:
                package = self.waiting.pop()
            except IndexError:
                return
            try:
                self.look_for(package)
                self.lacking[package["name"]] = "the index has no attestation"
            except Exception as error:  # whatever it is: an index that does not answer must not end the installation
                self.lacking[package["name"]] = f"the index could not be asked: {error}"[:300]

    def look_for(self, package):
        import index

        for file in index.find(package, b"provenance"):
            if file["provenance"]:
                text, _ = index.get(file["provenance"], "application/vnd.pypi.integrity.v1+json, application/json")
                self.found[file["digest"]] = text.decode()

    def of(self, archives):
        """Returns what is known of each archive, by the names of packages. One that has an attestation that does not hold is refused."""
        end = time.monotonic() + PATIENCE
        for thread in self.threads:
            thread.join(max(0, end - time.monotonic()))
        asked = {name: {"file": file, "digest": digest, "provenance": self.found[digest]} for name, (digest, _, file) in archives.items() if digest in self.found}
        answers = check(asked) if asked else {}
        result = {}
        for package in self.packages:
            name = package["name"]
            detail = self.lacking.get(name, "the index has not answered in time")
            result[f"{name}-{package['version']}"] = {"scheme": SCHEME, "verified": False, "detail": detail, **answers.get(name, {})}
        return result


def check(asked):
    if not os.path.isdir(TOOLS):
        return {name: {"detail": "there is an attestation, and this worker lacks the tool to check it: run `make deps build` where it was built"} for name in asked}
    program = os.path.join(os.path.dirname(__file__), "attestations.py")
    env = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    run = subprocess.run([PYTHON, "-I", "-S", "-B", program, TOOLS], input=json.dumps(asked).encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    if run.returncode != 0:
        reason = run.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return {name: {"detail": f"there is an attestation, and it could not be checked: {reason}"} for name in asked}
    answers = json.loads(run.stdout)
    for name, answer in answers.items():
        if "wrong" in answer:
            raise Refused("install", "worker", f"{name}: the attestation that the index has for {asked[name]['file']} is wrong: {answer['wrong']}")
    return answers
