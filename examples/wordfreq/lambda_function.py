"""Counts words, in the form of an AWS Lambda function and with the standard library only.

Without a text in the event it reads gettysburg.txt: Abraham Lincoln's address at Gettysburg of 19 November 1863, in the
wording of the Bliss copy (public domain).
"""

import collections
import pathlib
import re

TEXT = pathlib.Path(__file__).with_name("gettysburg.txt").read_text(encoding="utf-8")


def lambda_handler(event, context):
    words = re.findall(r"[a-z']+", event.get("text", TEXT).lower())
    counts = collections.Counter(words)
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: event.get("top", 10)]
    return {
        "function": context.function_name,
        "words": len(words),
        "different": len(counts),
        "longest": max(counts, key=lambda word: (len(word), word), default=None),
        "most": [{"word": word, "count": count} for word, count in most],
    }
