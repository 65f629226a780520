import time

time.sleep(0.05)
print("kit_b", flush=True)
