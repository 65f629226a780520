import os

try:
    import kit_is_not_there
except ImportError:
    kit_is_not_there = None

os.path.exists("kit_no_file")
os.environ.get("KIT_NO_VARIABLE")
