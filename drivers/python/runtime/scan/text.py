"""What of a text is not what it looks like: characters that are not seen, that turn the order of others around, or that look like letters of
another script."""

import ast
import re
import unicodedata

TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")  # the order of what follows: an editor shows other code than runs
NOBODY_SEES = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2060-\u2064\u206a-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
# Many of them together carry a text that nobody sees. One alone joins emoji, or says how one looks.
UNSEEN = re.compile(f"[{NOBODY_SEES}]{{8,}}")
# Beside letters of scripts that need no such characters.
BESIDE = re.compile(f"(?<=[A-Za-z0-9_])(?![\u200e\u200f])[{NOBODY_SEES}]|(?![\u200e\u200f])[{NOBODY_SEES}](?=[A-Za-z0-9_])|"
                    "(?<=[A-Za-z0-9_]{2})[\u200e\u200f]")  # formats of dates have marks of direction between single letters
# Letters of other scripts that look like Latin ones.
ALIKE = frozenset("\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b\u051d\u04cf\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0405\u0406\u0408"
                  "\u03bf\u039f\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u03a1\u03a4\u03a5\u03a7\u03bd\u0578\u057d\u0585\u0261\u0269")
CLOSER = re.compile(f"[{''.join(sorted(ALIKE))}{NOBODY_SEES}]")  # what is to be looked at in the code


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


def mixed(text):
    """Whether a word of a text has Latin letters and others that look like them."""
    return any(any(c in ALIKE for c in word) and any(c.isascii() and c.isalpha() for c in word) and looks_latin(word) for word in re.findall(r"\w+", text))


def in_code(nodes, source):
    """Yields (line, reason) of names in the code, and short texts, that are not what they look like. An escape shows what it is: only what stands in the
    source counts."""
    lines = source.splitlines()
    for node in nodes:
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if not node.value.isascii() and len(node.value) < 200 and any(map(CLOSER.search, lines[line - 1 : node.end_lineno])):
                if not others(node.value) and BESIDE.search(node.value):
                    yield line, "has a text with a character that nobody sees"
                elif not re.search(r"\s", node.value) and mixed(node.value):  # prose has slips of its own
                    yield line, f"has a word with letters of another script that look like Latin ones: {ascii(node.value)}"
            continue
        for name in [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "asname", "module")]:
            if isinstance(name, str) and any(looks_latin(part) for part in name.split(".")):
                yield line, f"has a name with letters of another script that look like Latin ones: {ascii(name)}"


def others(text):
    """Whether a text has letters of scripts that need characters which nobody sees."""
    return any(c.isalpha() and not unicodedata.name(c, "").startswith(("LATIN", "GREEK", "CYRILLIC", "HANGUL FILLER", "HANGUL CHOSEONG FILLER", "HANGUL JUNGSEONG FILLER", "HALFWIDTH HANGUL FILLER")) for c in text)
