print("kit_which 1", flush=True)
