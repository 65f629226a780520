require "securerandom"
require "tempfile"

puts "kit_a"
BLOCK = "k" * (24 << 20)
DRAWN = [rand, [*1..30].shuffle, SecureRandom.hex, SecureRandom.uuid, File.basename(Tempfile.new.path)].freeze
