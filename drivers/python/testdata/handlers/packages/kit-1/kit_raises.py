raise RuntimeError("kit says no")
