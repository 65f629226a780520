puts "kit_a"
BLOCK = "k" * (24 << 20)
