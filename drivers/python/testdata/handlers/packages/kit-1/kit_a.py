print("kit_a", flush=True)
block = bytearray(b"k") * (24 << 20)
