puts "kit_which 1"
$stdout.flush
