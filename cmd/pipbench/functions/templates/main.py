"""Runs the function once: the event on stdin, the result on stdout."""
import json
import sys

import handler

print(json.dumps(handler.handler(json.load(sys.stdin), None)))
