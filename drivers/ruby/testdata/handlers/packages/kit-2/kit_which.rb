puts "kit_which 2"
