import random
import secrets
import tempfile
import uuid

print("kit_a", flush=True)
block = bytearray(b"k") * (24 << 20)
generator = random.Random()
drawn = random.random(), secrets.token_hex(), uuid.uuid4(), next(tempfile._get_candidate_names()), generator.random()
