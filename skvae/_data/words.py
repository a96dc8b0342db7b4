"""What a word is, in the scripts of the world, for sentences that nobody has cut into words."""

import re
import unicodedata
from functools import cache
from itertools import groupby

# Scripts that put no spaces between words are read character by character: Han and kana (with
# the iteration marks), Thai and Lao, Burmese, Khmer.
UNSPACED = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff\U0001b000-\U0001b16f"
    "\u0e00-\u0eff\u1000-\u109f\uaa60-\uaa7f\u1780-\u17ff"
)
WIDE_MARKS = "\u3001-\u303f\uff01-\uff65"  # their punctuation, whose spaces are part of it
JOINERS = "\u200c\u200d"  # of letters in Indic scripts and in Persian, of emoji
STACKERS = "\u1039\u17d2"  # put the next letter below the last, in Burmese and in Khmer


def tokens(text):
    """Cut a text into words and marks.

    A word is a run of letters, digits and apostrophes with the accents and vowel signs that they
    carry; in scripts without spaces between words it is a single character with these. Everything
    else that can be seen is a mark of its own; an emoji is one mark, whatever it is put together
    of.

    Parameters
    ----------
    text : str
        As `normalized` returns it.

    Returns
    -------
    list of str
        Words and marks in their order.

    Examples
    --------
    >>> from skvae._data.words import tokens
    >>> tokens("don't panic, 42!")
    ["don't", 'panic', ',', '42', '!']
    >>> tokens("我用Python写。")
    ['我', '用', 'Python', '写', '。']
    """
    return _token().findall(text)


def normalized(text):
    """Write what looks alike alike: an accented letter as one character, if there is one.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    str
        In the normalization form C of Unicode.

    Examples
    --------
    >>> from skvae._data.words import normalized
    >>> len("e\\u0301"), len(normalized("e\\u0301"))
    (2, 1)
    """
    return unicodedata.normalize("NFC", text)


def lowercased(text):
    """Write a text in small letters, and `normalized`.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    str
        The text.
    """
    return normalized(text.lower())


def joined(words):
    """Put words and marks together again, with a space where the script has one.

    Parameters
    ----------
    words : iterable of str
        As `tokens` returns them.

    Returns
    -------
    str
        A sentence.

    Examples
    --------
    >>> from skvae._data.words import joined
    >>> joined(["a", "cat", "."]), joined(["我", "爱", "你", "。"])
    ('a cat .', '我爱你。')
    """
    return _needless_space().sub("", " ".join(words))


@cache
def _token():
    signs = _ranges(lambda c: unicodedata.category(c)[0] == "M")  # what letters carry
    unseen = _ranges(lambda c: unicodedata.category(c) == "Cf")
    letter = rf"[^\W{UNSPACED}]"
    # An emoji has a base, and then signs, skin tones or tags; more may follow behind joiners.
    emoji = rf"[^\w\s{signs}{unseen}][{signs}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    kinds = [
        rf"(?:{letter}|['{signs}])(?:{letter}+|['{signs}]+|[{JOINERS}](?=\w))*",
        rf"[{UNSPACED}](?:[{signs}]|(?<=[{STACKERS}])[{UNSPACED}])*",
        "[\U0001f1e6-\U0001f1ff]{2}",  # flags
        rf"{emoji}(?:\u200d{emoji})*",
    ]
    return re.compile("|".join(kinds))


@cache
def _needless_space():
    beside = f"[{UNSPACED}{WIDE_MARKS}]"
    return re.compile(f"(?<={beside}) | (?={beside})")


def _ranges(belongs):
    """The characters of a kind, as ranges of a character class."""
    assigned = map(chr, (*range(0xA0, 0x20000), *range(0xE0000, 0xE0200)))
    runs = [[*run] for kept, run in groupby(assigned, belongs) if kept]
    return "".join(f"{run[0]}-{run[-1]}" for run in runs)
