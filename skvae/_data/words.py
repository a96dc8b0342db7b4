"""Words and marks of plain text, in any script."""

import re
import unicodedata
from functools import cache
from itertools import groupby

# Scripts without spaces between words, which are read character by character: Han and kana (with
# the iteration marks), Thai and Lao, Burmese, Khmer.
UNSPACED = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff\U0001b000-\U0001b16f"
    "\u0e00-\u0eff\u1000-\u109f\uaa60-\uaa7f\u1780-\u17ff"
)
WIDE_MARKS = "\u3001-\u303f\uff01-\uff65"  # East Asian punctuation, as wide as its space
SUPERFLUOUS_SPACE = re.compile("(?<={0}) | (?={0})".format(f"[{UNSPACED}{WIDE_MARKS}]"))
JOINERS = "\u200c\u200d"  # join letters in Indic scripts and in Persian, and emoji
STACKERS = "\u1039\u17d2"  # put the next letter below the previous one, in Burmese and Khmer


def tokens(text):
    """Cut a `normalized` text into words and marks.

    A word is a run of letters, digits and apostrophes with their accents and vowel signs. In
    scripts without spaces between words, it is a single character with its signs. Every other
    visible character is a mark. An emoji is one mark, even if it consists of several characters.

    >>> tokens("don't panic, 42!")
    ["don't", 'panic', ',', '42', '!']
    >>> tokens("我用Python写。")
    ['我', '用', 'Python', '写', '。']
    """
    return _token().findall(text)


def normalized(text):
    """Write each accented letter as one character, if Unicode has one (normalization form C)."""
    return unicodedata.normalize("NFC", text)


def lowercased(text):
    """Write a text in lower case, and `normalized`."""
    return normalized(text.lower())


def joined(words):
    """Join words and marks, as from `tokens`, to a sentence with spaces where the script has them.

    >>> joined(["a", "cat", "."]), joined(["我", "爱", "你", "。"])
    ('a cat .', '我爱你。')
    """
    return SUPERFLUOUS_SPACE.sub("", " ".join(words))


@cache
def _token():
    signs = _ranges(lambda c: unicodedata.category(c)[0] == "M")  # accents and vowel signs
    invisible = _ranges(lambda c: unicodedata.category(c) == "Cf")
    letter = rf"[^\W{UNSPACED}]"
    # An emoji has a base and signs, skin tones or tags; joiners attach further emoji to it.
    emoji = rf"[^\w\s{signs}{invisible}][{signs}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    kinds = [
        rf"(?:{letter}|['{signs}])(?:{letter}+|['{signs}]+|[{JOINERS}](?=\w))*",
        rf"[{UNSPACED}](?:[{signs}]|(?<=[{STACKERS}])[{UNSPACED}])*",
        "[\U0001f1e6-\U0001f1ff]{2}",  # flags
        rf"{emoji}(?:\u200d{emoji})*",
    ]
    return re.compile("|".join(kinds))


def _ranges(belongs):
    """Return the characters for which `belongs` is true, as ranges of a character class."""
    assigned = map(chr, (*range(0xA0, 0x20000), *range(0xE0000, 0xE0200)))
    runs = [[*run] for kept, run in groupby(assigned, belongs) if kept]
    return "".join(f"{run[0]}-{run[-1]}" for run in runs)
