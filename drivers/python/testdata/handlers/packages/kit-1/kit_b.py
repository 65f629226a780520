import time

import kit_draw

time.sleep(0.05)
print("kit_b", flush=True)
drawn = kit_draw.draw()
