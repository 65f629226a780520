"""Write a driver of Pipsqueak in Python: bring a Language, and serve it.

The messages that a driver makes are those of driver.proto. What their fields mean is said in core/driver.go
of Pipsqueak.
"""

from .driver import Language
from .errors import DriverError
from .sandbox import LIBRARY_PATH, files, libexec
from .server import serve
from .wire.driver_pb2 import Description, HandlerFile, Mount, Program, Runtime

__all__ = [
    "LIBRARY_PATH",
    "Description",
    "DriverError",
    "HandlerFile",
    "Language",
    "Mount",
    "Program",
    "Runtime",
    "files",
    "libexec",
    "serve",
]
__version__ = "0.1.0"
