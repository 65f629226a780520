try:
    raise ValueError("the kit has a reason")
except ValueError as error:
    raise RuntimeError("kit says no") from error
