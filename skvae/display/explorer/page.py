"""One file of HTML, made of the JavaScript modules, the style sheet and the data."""

import json
import re
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
# Modules in the order of their imports: each one imports only from those before it.
ARITHMETIC = ("arrays", "network", "tokens", "recurrent", "posterior", "likelihood", "model")
VIEWS = ("elements", "views", "codemap", "sentence", "explorer")


def script(modules=(*ARITHMETIC, *VIEWS), folder=HERE):
    """Join modules of JavaScript into one script, without their imports and exports."""
    texts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in modules]
    texts = [re.sub(r"^import [^;]*;\n+", "", text, flags=re.MULTILINE) for text in texts]
    return "\n".join(re.sub(r"^export ", "", text, flags=re.MULTILINE) for text in texts)


def as_json(data):
    """Write data as JSON that cannot end the script element that contains it."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def page(data, title):
    """Make the page of an explorer."""
    parts = {
        "title": escape(title),
        "style": (HERE / "style.css").read_text(encoding="utf-8"),
        "data": as_json(data),
        "script": script(),
    }
    template = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda match: parts[match[1]], template)
