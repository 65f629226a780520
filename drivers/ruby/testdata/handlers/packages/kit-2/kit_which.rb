puts "kit_which 2"
$stdout.flush
