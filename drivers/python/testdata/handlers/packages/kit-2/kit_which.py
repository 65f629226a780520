print("kit_which 2", flush=True)
