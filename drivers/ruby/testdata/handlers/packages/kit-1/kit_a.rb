$kit_block = "k" * (24 << 20)
puts "kit_a"
$stdout.flush
