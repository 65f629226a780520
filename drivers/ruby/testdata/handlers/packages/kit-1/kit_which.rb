puts "kit_which 1"
