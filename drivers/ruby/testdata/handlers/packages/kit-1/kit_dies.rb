exit!(3)
