"""What is looked at while something is imported that may be another thing in an instance than in a zygote: what is in
the working directory, and the process's id and arguments."""

import os
import sys
import types

from pipsqueak_watch import ARGUMENTS, CODE, PACKAGES, PRELOAD, Told

WHERE, PID = ".", "@pid"  # as core has them


class Place:
    """A context in which names has what is in the working directory that somebody has looked at, DIRECTORY for all of
    it, WHERE if somebody has asked which it is, and PID and ARGUMENTS if code of packages has."""

    def __enter__(self):
        self.names, self.ids = set(), []
        self.was = os.getcwd, os.getcwdb, os.getpid, sys.argv
        os.getcwd, os.getcwdb = (Told(function, lambda *_: self.names.add(WHERE)) for function in self.was[:2])
        os.getpid, sys.argv = Told(os.getpid, self.identified), Arguments(sys.argv)
        sys.argv.tell = self.argued
        PRELOAD.ps_look(CODE.encode())
        return self

    def identified(self, pid, frame):
        if frame.f_code.co_filename.startswith(PACKAGES):
            self.ids.append((pid, frame.f_code, frame.f_globals))

    def argued(self, frame):
        if frame.f_code.co_filename.startswith(PACKAGES):
            self.names.add(ARGUMENTS)

    def __exit__(self, *_):
        os.getcwd, os.getcwdb, os.getpid, sys.argv = self.was
        self.names.update(os.fsdecode(name) for name in PRELOAD.ps_looked().splitlines())
        if keeps(self.ids):
            self.names.add(PID)


def keeps(ids):
    """Whether somebody has kept the process's id of those who have read it, and does not read it again to notice a
    fork. Each read has an object of its own."""
    unkept = None
    for pid, code, names in [(int("20001"), None, {}), *ids]:
        references = sys.getrefcount(pid)
        if unkept is None:
            unkept = references
        others = other_names(code, names)
        if "getpid" not in others and (references > unkept or keeps_text(str(pid), names, others)):
            return True
    return False


def keeps_text(pid, names, others):
    """Whether a text with the id is a constant of a module, or is used by its functions: it may also be left over."""
    return any(type(value) is str and pid in value and (name.isupper() or name in others) for name, value in list(names.items()))


def other_names(code, names):
    """The names that other code of a module than this uses, but for what runs at its import only."""
    try:
        found = [names["__spec__"].loader.get_code(names["__name__"])]
        for each in found:
            found += [const for const in each.co_consts if isinstance(const, types.CodeType)]
        return {name for each in found[1:] if each != code for name in each.co_names}
    except Exception:  # it is no module with code
        return set()


class Arguments(list):
    """The arguments of the process, which tell who reads them."""


def told(name):
    read = getattr(list, name)

    def read_told(self, *args):
        self.tell(sys._getframe(1))
        return read(self, *args)

    return read_told


for name in ("__getitem__", "__iter__", "__len__", "__contains__", "__eq__", "__add__", "copy", "index", "pop"):
    setattr(Arguments, name, told(name))
