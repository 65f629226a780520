require "kit_draw"

puts "kit_a"
BLOCK = "k" * (24 << 20)
KitDraw::DRAWN["kit_a"] = KitDraw.draw
