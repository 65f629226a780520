require "kit_draw"

sleep 0.05
puts "kit_b"
KitDraw::DRAWN["kit_b"] = KitDraw.draw
