import random

import kit_draw

print("kit_a", flush=True)
block = bytearray(b"k") * (24 << 20)
generator = random.Random()
drawn = kit_draw.draw() | {"generator": str(generator.random())}
