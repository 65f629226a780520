import os
import random
import secrets
import tempfile
import uuid


def draw():
    return {
        "random": str(random.random()),
        "secrets": secrets.token_hex(16),
        "uuid": str(uuid.uuid4()),
        "tempfile": next(tempfile._get_candidate_names()),
        "urandom": os.urandom(16).hex(),
    }
