"""The modules of the loop. They are in a package because a function may have modules of any name but this one."""
