try:
    import kit_is_not_there
except ImportError:
    kit_is_not_there = None
