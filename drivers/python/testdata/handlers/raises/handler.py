raise ValueError("kit says no")
