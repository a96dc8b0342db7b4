"""One file of HTML out of the modules of JavaScript, the style and the data beside them."""

import json
import re
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
# A module comes after those that it imports from.
ARITHMETIC = ("arrays", "network", "recurrent", "posterior", "likelihood", "model")
VIEWS = ("elements", "views", "codemap", "explorer")


def script(modules=(*ARITHMETIC, *VIEWS), folder=HERE):
    """Join modules of JavaScript into one script, without their imports and exports.

    Parameters
    ----------
    modules : sequence of str
        Names, in the order of their dependence. In the files they import each other, so that each
        says what it needs; on a page that is opened from a disk they could not.
    folder : Path
        Where they lie.

    Returns
    -------
    str
        To be put into a script element of the type "module".
    """
    texts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in modules]
    texts = [re.sub(r"^import [^;]*;\n+", "", text, flags=re.MULTILINE) for text in texts]
    return "\n".join(re.sub(r"^export ", "", text, flags=re.MULTILINE) for text in texts)


def as_json(data):
    """Write data so that no text in them can end the script element that they stand in.

    Parameters
    ----------
    data : dict
        What `json.dumps` takes.

    Returns
    -------
    str
        JSON without a ``<``, which is an escape in it.
    """
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def page(data, title):
    """Make the page of an explorer.

    Parameters
    ----------
    data : dict
        What the page shows.
    title : str
        Its title.

    Returns
    -------
    str
        HTML that needs no other file and no network.
    """
    parts = {
        "title": escape(title),
        "style": (HERE / "style.css").read_text(encoding="utf-8"),
        "data": as_json(data),
        "script": script(),
    }
    template = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda place: parts[place[1]], template)
