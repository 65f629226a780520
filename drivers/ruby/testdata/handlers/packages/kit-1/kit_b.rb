sleep 0.05
puts "kit_b"
