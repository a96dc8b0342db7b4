"""Sentences that are typed into the explorer's page: their tokens and codes are the estimator's."""

import json
import sys
import unicodedata

import numpy as np
import pytest
from browsing import Opener, chromium, put
from sklearn.datasets import load_iris
from torch import nn

from skvae import BNVAEEstimator, BNVAETextEstimator, Explorer
from skvae._data.vocabulary import Analysis
from skvae.datasets import make_sentences
from skvae.display.explorer.sentences import described_reader

SENTENCES, FACTORS = make_sentences(300, random_state=0)
TYPED = [
    SENTENCES[7],
    SENTENCES[11].upper(),
    "the quick xyzzy was not the plugh",
    "",
    "  \n ",
    " ".join(SENTENCES[:12]),
]
TEXTS = [
    "",
    "   \t \n",
    "Don't panic, 42!",
    "it's 'quoted' rock'n'roll ''",
    "1,000.5% of x_1 = ½ + ² Ⅷ ٣",
    "Naïve café, ÉCOLE; cafe\u0301 E\u0301",
    "ἘΝ ΟἾΔΑ ΣΟΦΌΣ. Straße İstanbul ŒUVRE ǅ",
    "Tiếng Việt, tie\u0302\u0301ng",
    "我用Python写。你好，world！々〆 ｶﾞ がか\u3099",
    "हिन्दी में क्\u200dष और नमस्ते।",
    "ภาษาไทย ລາວ မြန်မာ္တ ភាសាខ្មែរ",
    "می\u200cخواهم سَلَام עִבְרִית",
    "👍🏽👩‍👩‍👧‍👦🇩🇪🇫🇷❤️ ☺ 1️⃣ 🏴\U000e0067\U000e0062\U000e007f!",
    "a\u00adb\ufeffc\u200bd\u200de\u200d",
    "tab\there\x1cthere\x85where\u00a0no\u2028line\u3000wide",
    "\u0301a ' '' \u0301' _ __x a_b",
    "한국어 조선말 \u1112\u1161\u11ab",
    "<b>&amp;</b> http://x.org/?q=1#a \\d+ ${x}",
]
TOKENS = "(json) => JSON.stringify(JSON.parse(json).map((text) => explorer.model.tokensOf(text)))"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, tmp_path):
    opener = Opener(browser, tmp_path)
    yield lambda explorer, **settings: opener(explorer.html(), **settings)
    opener.close()


def fitted(**settings):
    settings = {"embedding_size": 12, "hidden_size": 20, "max_length": 90, "max_iter": 3} | settings
    vae = BNVAETextEstimator(4, learning_rate=2e-2, random_state=0, **settings)
    return vae.fit(SENTENCES[:60])


def explored(vae, **settings):
    return Explorer.from_estimator(vae, SENTENCES, n_rows=20, **settings)


def tokens_of(page, texts):
    """Tokens of each text in the page; as JSON, because Playwright is slow with long lists."""
    return json.loads(page.evaluate(TOKENS, json.dumps(texts)))


def typed(page, sentence):
    """Type a sentence and wait until it is shown; its mean and its standard deviation."""
    page.get_by_label("Type a sentence").fill("")
    page.get_by_label("Type a sentence").fill(sentence)
    put(page, {})
    return page.evaluate("(({loc, scale}) => [[...loc], [...scale]])(explorer.rows.at(-1))")


# -- tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("unit", ["word", "char"])
def test_tokens_are_those_of_python(opened, unit, lowercase):
    page = opened(explored(fitted(analyzer=unit, lowercase=lowercase)))
    wanted = Analysis(unit, None, lowercase, None).tokens(TEXTS)
    for text, ours, theirs in zip(TEXTS, tokens_of(page, TEXTS), wanted, strict=True):
        assert ours == theirs, text


@pytest.mark.parametrize("unit", ["word", "char"])
def test_tokens_around_every_character(opened, unit):
    """Each character that Python's Unicode knows, between letters and by itself."""
    page = opened(explored(fitted(analyzer=unit)))
    known = [
        c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in _OTHER
    ]
    texts = [f"a{c}b {c}{c} '{c}" for c in known]
    wanted = Analysis(unit, None, True, None).tokens(texts)
    found = tokens_of(page, texts)
    different = [
        (f"U+{ord(c):04X}", ours, theirs)
        for c, ours, theirs in zip(known, found, wanted, strict=True)
        if ours != theirs
    ]
    assert different == []


_OTHER = ("Cn", "Co", "Cs")  # unassigned, private and half characters


# -- codes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "lstm", "pooling": "mean"},
        {"cell": "gru", "pooling": "last", "tied": False},
        {"cell": "lstm", "pooling": "max", "lowercase": False},
        {"cell": "lstm", "pooling": "last", "posterior": "gaussian"},
        {"analyzer": "char"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*documents are longer:UserWarning")
@pytest.mark.filterwarnings("ignore:.*not in the vocabulary:UserWarning")
@pytest.mark.filterwarnings("ignore::skvae.PosteriorCollapseWarning")
def test_a_typed_sentence_has_the_code_of_the_estimator(opened, settings):
    vae = fitted(**settings)
    page = opened(explored(vae))
    for sentence in TYPED:
        loc, scale = vae.encode([sentence])
        found = typed(page, sentence)
        assert np.allclose(found, [loc[0], scale[0]], rtol=1e-4, atol=1e-4), sentence
        assert np.allclose(
            page.evaluate("[...explorer.code]"), vae.transform([sentence]), atol=1e-4
        )
        (decoded,) = vae.inverse_transform(loc)
        assert page.evaluate("explorer.decoded") == decoded


def test_a_typed_sentence_follows_the_dial(opened):
    vae = fitted(tau=(0.2, 0.9))
    page = opened(explored(vae))
    sentence = SENTENCES[3]
    typed(page, sentence)
    for tau in (0.25, 0.6, 0.85):
        put(page, {"#tau": float(np.log(tau / (1 - tau)))})
        moved = vae.at_tau(page.evaluate("explorer.model.at"))
        found = page.evaluate("(({loc, scale}) => [[...loc], [...scale]])(explorer.rows.at(-1))")
        wanted = np.concatenate(moved.encode([sentence]))
        assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4)
        assert np.allclose(page.evaluate("[...explorer.code]"), wanted[0], atol=1e-4)
        assert np.allclose(shown_code(page), wanted.T, atol=6e-4)  # three digits are shown


def shown_code(page):
    """Mean and standard deviation of each component, as the page shows them."""
    lines = page.locator(".code li").all_inner_texts()
    numbers = [line.replace("\u2212", "-").replace("\u00b1", "").split() for line in lines]
    return np.array(sorted(numbers), dtype=float)[:, 1:]


# -- the page ----------------------------------------------------------------------------------


def test_tokens_are_shown_and_unknown_ones_as_such(opened):
    page = opened(explored(fitted()))
    assert page.locator(".code").is_hidden()
    known = SENTENCES[0].split()[0].lower()
    typed(page, f"{known} xyzzy <b>")
    items = page.locator(".tokens li").all_inner_texts()
    assert items == [known, *(f"{token} unknown" for token in ("xyzzy", "<", "b", ">"))]
    assert page.locator(".tokens .unknown").count() == 4
    note = page.locator("#sentence-note")
    assert note.inner_text() == "5 tokens; 4 unknown, which the model cannot tell apart."
    typed(page, known)
    assert note.inner_text() == "1 token."
    typed(page, "")
    assert note.inner_text() == "0 tokens."
    typed(page, f"{known} " * 99)
    assert note.inner_text() == "99 tokens, of which the model reads the first 90."
    assert page.locator(".tokens li").count() == 90


def test_a_typed_sentence_is_one_of_the_rows(opened):
    vae = fitted()
    page = opened(explored(vae, y=FACTORS[:, 0]))
    typed(page, SENTENCES[5])
    assert page.locator("#row").input_value() == "20"
    assert page.locator(".row .name").inner_text() == "your sentence"
    assert page.locator("dd").nth(1).inner_text() == SENTENCES[5]
    assert page.evaluate("explorer.map.codes.length") == 21
    put(page, {"#component-0": 1.5})
    page.locator(".sentence").get_by_role("button", name="to its code").click()
    assert np.allclose(
        page.evaluate("[...explorer.code]"), vae.transform(SENTENCES[5:6]), atol=1e-4
    )
    page.locator(".walk button", has_text="this row").nth(1).click()
    put(page, {".walk input[type=range]": 1})
    assert np.allclose(
        page.evaluate("[...explorer.code]"), vae.transform(SENTENCES[5:6]), atol=1e-4
    )
    typed(page, SENTENCES[6])
    assert (
        page.evaluate("explorer.rows.length") == 21
    )  # the newest sentence replaces the one before


def test_typing_while_the_dial_moves_leaves_no_row_behind(opened):
    vae = fitted(tau=(0.2, 0.9))
    page = opened(explored(vae))
    page.evaluate(
        """() => {
            explorer.setTau(0.3);
            explorer.encodedRow(0); // as the start of a slice
            explorer.nextOutdated = 7;
            explorer.nOutdated = 15;
            explorer.typeSentence("a");
            return new Promise((done) => {
                const check = () => (explorer.nOutdated ? requestAnimationFrame(check) : done());
                check();
            });
        }"""
    )
    assert page.evaluate("explorer.rows.every((row) => row.tau === 0.3)")


def test_the_keyboard_reaches_and_leaves_the_sentence(opened):
    page = opened(explored(fitted(tau=(0.2, 0.9))))
    field = page.get_by_label("Type a sentence")
    field.focus()
    page.keyboard.type(SENTENCES[2])
    put(page, {})
    assert page.locator(".row .name").inner_text() == "your sentence"
    assert field.evaluate("(one) => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "Its code: mean"
    )
    page.keyboard.press("Tab")
    put(page, {"#component-1": -2})
    page.keyboard.press("Enter")
    put(page, {})
    assert page.evaluate("explorer.code.join() === explorer.rows.at(-1).loc.join()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1000, 1280])
def test_long_words_do_not_widen_the_page(opened, width, scheme):
    page = opened(explored(fitted()), viewport={"width": width, "height": 800}, color_scheme=scheme)
    typed(page, "w" * 500 + " 我" * 30)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    nameless = page.evaluate(
        "Array.from(document.querySelectorAll('textarea, .sentence button'))"
        ".filter((one) => !(one.labels?.length || one.textContent.trim())).length"
    )
    assert nameless == 0


def cut(text):
    return text.split()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"analyzer": cut}, "a function of its own, its analyzer"),
        ({"tokenizer": cut}, "a function of its own, its tokenizer"),
        ({"token_pattern": r"\w+"}, "a pattern of its own, its token_pattern"),
    ],
)
def test_where_python_cuts_the_tokens_the_page_says_so_and_shows_the_rest(opened, settings, reason):
    vae = fitted(**settings)
    page = opened(explored(vae))
    said = page.locator("section.sentence").inner_text()
    assert (
        f"Sentences cannot be typed on this page: the model cuts them into tokens by {reason}"
        in said
    )
    assert page.locator("textarea").count() == 0
    code = np.float32([[0.5, -1.0, 1.5, 0.25]])
    put(page, {f"#component-{j}": float(value) for j, value in enumerate(code[0])})
    assert page.evaluate("explorer.decoded") == vae.inverse_transform(code)[0]
    assert "embedding" not in explored(vae).data["model"]["reader"]


def test_a_page_of_rows_has_no_field_for_a_sentence(opened):
    rows = load_iris().data
    page = opened(Explorer.from_estimator(BNVAEEstimator(2, max_iter=1).fit(rows), rows))
    assert page.locator("section.sentence, textarea").count() == 0


def test_an_encoder_that_the_page_does_not_know():
    reader = described_reader(nn.Identity(), Analysis("word", None, True, None), None)
    assert [*reader] == ["refusal"]
    assert reader["refusal"].endswith(": it cannot compute the encoder, Identity.")
