raise ArgumentError, "kit says no"
