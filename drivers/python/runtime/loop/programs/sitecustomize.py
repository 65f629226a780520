"""For a Python that a handler has started: the function's packages are where a virtual environment has them, behind the standard library."""

import os
import sys

here = os.path.dirname(__file__)
packages = list(filter(None, os.environ.get("PIPSQUEAK_PACKAGES", "").split(":")))
sys.path[:] = [path for path in sys.path if path != here] + [os.path.dirname(here)]
from _pipsqueak.site import arrange  # noqa: E402

sys.path[-1:] = [path for path in packages if path not in sys.path]
sys.path.extend(arrange(packages))
