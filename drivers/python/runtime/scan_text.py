"""What of a text is not what it looks like: characters that are not seen, that turn the order of others around, or that look like letters of
another script."""

import ast
import re

TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")  # the order of what follows: an editor shows other code than runs
# Many of them together carry a text that nobody sees. One alone joins emoji, or says how one looks.
UNSEEN = re.compile("[\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\u180b-\u180d\U000e0000-\U000e01ef\u3164\uffa0\u115f\u1160]{8,}")
# Letters of other scripts that look like Latin ones.
ALIKE = frozenset("\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b\u051d\u04cf\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0405\u0406\u0408"
                  "\u03bf\u039f\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u03a1\u03a4\u03a5\u03a7\u03bd\u0578\u057d\u0585\u0261\u0269")
ALIKES = re.compile("[" + "".join(sorted(ALIKE)) + "]")


def invisible(text):
    """Yields (line, reason) of what cannot be seen in a text."""
    for match in TURNING.finditer(text):
        yield line_of(text, match), "has characters that turn the order of others around: an editor shows other code than runs"
    for match in UNSEEN.finditer(text):
        yield line_of(text, match), f"has {len(match[0])} characters in a row that nobody sees"


def line_of(text, match):
    return text.count("\n", 0, match.start()) + 1


def looks_latin(name):
    """Whether a name has letters of another script and looks as if it had none."""
    return len(name) > 1 and not name.isascii() and all(c.isascii() or c in ALIKE for c in name)


def lookalikes(nodes):
    """Yields (line, reason) of names in the code that look like others."""
    for node in nodes:
        names = [getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "arg", None), getattr(node, "name", None), getattr(node, "asname", None)]
        for name in names:
            if isinstance(name, str) and looks_latin(name) and not isinstance(node, ast.Constant):
                yield getattr(node, "lineno", 0), f"has a name with letters of another script that look like Latin ones: {ascii(name)}"
