"""The Chinese pages say what the English ones say: the same formulas, numbers, figures, links.

Words are not compared, only what has to be the same in both languages. Another test shows that
each kind of difference is noticed.
"""

import re
from collections import Counter
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [path.relative_to(DOCS) for path in sorted(DOCS.glob("theory/*.rst"))]
PAGES += [Path("statements.rst"), Path("play.rst")]

DIRECTIVE = r"^\.\. {name}::(.*)\n((?:[ ]+.*\n|\n)*)"
NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?"


def read(path):
    return path.read_text(encoding="utf-8")


def formula(text):
    """A formula without its white space and without words, which are translated."""
    return re.sub(r"\s+", "", re.sub(r"\\text\{[^}]*\}", r"\\text{}", text))


def sections(text):
    """The text before the first title, and below each title."""
    return re.split(r"^.+\n[=-]{2,}\n", text, flags=re.M)


def targets(text, roles):
    """What the roles refer to, with or without a text of their own."""
    found = re.findall(rf":(?:{roles}):`~?(?:[^`<]*<)?([^`>]+)>?`", text)
    return Counter(re.sub(r"^/zh/", "/", target) for target in found)


def label(name):
    return name.strip().removeprefix("zh-")


def displayed(text):
    """Label and formula of each displayed formula."""
    found = []
    for argument, body in re.findall(DIRECTIVE.format(name="math"), text, re.M):
        name = re.search(r":label:(.*)", body)
        body = re.sub(r":label:.*", "", argument + body)
        found.append((label(name[1]) if name else None, formula(body)))
    return found


def inline(text):
    return {formula(found) for found in re.findall(r":math:`([^`]+)`", text)}


def numbers(text):
    """Numbers in words and tables, wherever in the section."""
    text = re.sub(DIRECTIVE.format(name="math"), "", text, flags=re.M)
    text = re.sub(r":\w+(?::\w+)?:`[^`]*`|``[^`]*``", "", text)
    text = re.sub(r"^ *(?:\.\. .*::.*|:(?!alt)[\w-]+:.*|[=\s]+)$", "", text, flags=re.M)
    return Counter(re.findall(NUMBER, text))


def content(text):
    """What has to be the same in every language, by a name for it."""
    parts = sections(text)
    return {
        "displayed formulas": displayed(text),
        "inline formulas of each section": [inline(part) for part in parts],
        "numbers of each section": [numbers(part) for part in parts],
        "figures": re.findall(r"\.\. figure:: .*?(\w+\.\w+)$", text, re.M),
        "statements": re.findall(r"^\*\*(?:Statement|命题) (\d+)(?: \(|（)", text, re.M),
        "rows of statements": re.findall(r"^   \* - (S\d+)$", text, re.M),
        "functions": targets(text, "func|class|meth"),
        "tests": re.findall(r"``(test_\w+)``", text),
        "references to formulas": [
            Counter(label(name) for name in targets(part, "eq").elements()) for part in parts
        ],
        "citations": [targets(part, "cite:p") for part in parts],
        "pages linked to": set(targets(text, "doc")),
        "code": re.findall(r"^(?:   )?(?:>>>|\$) .*", text, re.M),
        "literals": set(re.findall(r"``(.+?)``", text)),
    }


def differences(english, chinese):
    """Names of what is not the same in both, and foreign labels."""
    ours, theirs = content(english), content(chinese)
    found = [name for name in ours if ours[name] != theirs[name]]
    names = re.findall(r":(?:label: |eq:`)([\w-]+)", chinese)
    return found + [f"label {name}" for name in names if not name.startswith("zh-")]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_and_its_translation_are_in_step(page):
    english, chinese = content(read(DOCS / page)), content(read(DOCS / "zh" / page))
    for name in english:  # one by one, for a message that shows the difference
        assert chinese[name] == english[name], name
    assert differences(read(DOCS / page), read(DOCS / "zh" / page)) == []


def test_there_is_something_to_compare():
    total = Counter()
    for page in PAGES:
        found = content(read(DOCS / "zh" / page))
        total.update({name: sum(map(bool, value)) for name, value in found.items()})
    assert all(total.values()), total
    assert total["statements"] == total["rows of statements"] == 46


def test_no_translation_is_left_over():
    pages = {path.relative_to(DOCS / "zh") for path in DOCS.glob("zh/theory/*.rst")}
    assert pages == {page for page in PAGES if page.parent.name == "theory"}


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (r"{1 - \tau} , \\[1ex]", r"{1 + \tau} , \\[1ex]", "displayed formulas"),
        (":label: zh-s-tau-price", ":label: zh-s-price", "displayed formulas"),
        (":label: zh-s-tau-price", ":label: s-tau-price", "label s-tau-price"),
        ("\n   :label: zh-s-pca-rate\n", "\n", "displayed formulas"),
        (r"1 - g = 1/\rho", r"1 - g = \rho", "inline formulas of each section"),
        ("命题 36（", "命题 35（", "statements"),
        ("命题 36（", "命题 35（", "numbers of each section"),
        ("figures/tau_price.svg", "figures/water_filling.svg", "figures"),
        ("skvae.bounds.pca_rate", "skvae.bounds.pca_gamma", "functions"),
        ("``test_price_of_tau``", "``test_best_share_of_signal``", "tests"),
        (":eq:`zh-s-pca-gamma`", ":eq:`zh-s-gammas`", "references to formulas"),
        (":cite:p:`tipping1999`", ":cite:p:`lucas2019`", "citations"),
        (":doc:`diagnostics`", ":doc:`std`", "pages linked to"),
        ("``test_price_of_tau``", "``tau``", "literals"),
    ],
)
def test_a_difference_is_noticed(old, new, name):
    page = Path("theory") / "pca.rst"
    english, chinese = read(DOCS / page), read(DOCS / "zh" / page)
    assert old in chinese
    assert name in differences(english, chinese.replace(old, new, 1))


@pytest.mark.parametrize(
    ("page", "old", "new", "name"),
    [
        ("theory/std.rst", "380,000", "380,001", "numbers of each section"),
        ("theory/std.rst", "-24.0", "24.0", "numbers of each section"),
        ("theory/floor.rst", "tau_for_rate(5.0,", "tau_for_rate(4.0,", "code"),
        ("statements.rst", "   * - S7\n", "   * - S8\n", "rows of statements"),
    ],
)
def test_a_difference_in_tables_and_code_is_noticed(page, old, new, name):
    english, chinese = read(DOCS / page), read(DOCS / "zh" / page)
    assert old in chinese
    assert name in differences(english, chinese.replace(old, new, 1))


def test_only_words_of_formulas_may_differ():
    assert formula(r"a \ge \text{the floor}\n b") == formula(r"a\ge\text{下界}\n  b")
    assert formula(r"a \ge \text{the floor}") != formula(r"a \le \text{下界}")


# -- the README and the glossary ---------------------------------------------------------------


def test_code_of_the_readme():
    ours = re.findall(r"^```(\w+)\n(.*?)^```", read(ROOT / "README.md"), re.M | re.S)
    blocks = re.findall(DIRECTIVE.format(name="code-block"), read(DOCS / "zh" / "index.rst"), re.M)
    theirs = [(name.strip(), dedent(body).strip("\n") + "\n") for name, body in blocks]
    assert len(ours) >= 5
    assert theirs == ours


def test_the_readme_and_its_translation_link_to_each_other():
    assert "(docs/zh/index.rst)" in read(ROOT / "README.md").split("##")[0]
    chinese = read(DOCS / "zh" / "index.rst")
    for found in re.findall(r"arXiv:[\d.]+|kexue\.fm[\w/]+", read(ROOT / "README.md")):
        assert found in chinese


def test_every_term_of_the_glossary_is_translated():
    terms = re.findall(r"^   (\S.*)\n      ", read(DOCS / "glossary.rst"), re.M)
    assert len(terms) > 30
    assert re.findall(r"\* - :term:`(.+?)`", read(DOCS / "zh" / "glossary.rst")) == terms
