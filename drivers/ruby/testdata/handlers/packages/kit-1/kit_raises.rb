raise "kit says no"
