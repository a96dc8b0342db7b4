"""What a word is: for readers and writers of many scripts."""

import re
import unicodedata
import warnings

import numpy as np
import pytest

from skvae import BNVAETextEstimator
from skvae._data.words import joined, lowercased, normalized, tokens
from skvae.datasets import make_sentences

CUT = {
    "English": ("It isn't 3.5% — “ok” e_g", "It|isn't|3|.|5|%|—|“|ok|”|e_g"),
    "French, composed": ("Déjà vu", "Déjà|vu"),
    "French, decomposed": ("De\u0301ja\u0300 vu", "Déjà|vu"),
    "no composed form": ("Z\u0361a y\u0308\u0304", "Z\u0361a|ÿ\u0304"),
    "Hindi": ("नमस्ते दुनिया, कैसे हो?", "नमस्ते|दुनिया|,|कैसे|हो|?"),
    "Hindi with joiner": ("क्\u200dष है", "क्\u200dष|है"),
    "Arabic": ("السَّلامُ عَلَيْكُم،", "السَّلامُ|عَلَيْكُم|،"),
    "Hebrew": ("שָׁלוֹם עולם", "שָׁלוֹם|עולם"),
    "Persian": ("می\u200cخواهم بروم", "می\u200cخواهم|بروم"),
    "Tamil": ("வணக்கம் உலகம்", "வணக்கம்|உலகம்"),
    "Korean": ("안녕하세요 세계", "안녕하세요|세계"),
    "Korean, decomposed": (unicodedata.normalize("NFD", "안녕 세계"), "안녕|세계"),
    "Chinese": ("我用Python3写诗，真的！", "我|用|Python3|写|诗|，|真|的|！"),
    "rare Chinese": ("\U00020000\u3400々", "\U00020000|\u3400|々"),
    "variant of a character": ("葛\U000e0100城", "葛\U000e0100|城"),
    "Japanese": ("タワーへ行く。", "タ|ワ|ー|へ|行|く|。"),
    "Japanese, decomposed": ("か\u3099く", "が|く"),
    "Thai": ("ที่นี่ดี", "ที่|นี่|ดี"),
    "Khmer": ("ខ្មែរ", "ខ្មែ|រ"),
    "Burmese": ("ဗုဒ္ဓ", "ဗု|ဒ္ဓ"),
    "emoji": ("hi👍🏽!❤️", "hi|👍🏽|!|❤️"),
    "emoji family": ("👨‍👩‍👧‍👦👩‍❤️‍💋‍👨", "👨‍👩‍👧‍👦|👩‍❤️‍💋‍👨"),
    "astronaut": ("🧑🏿‍🚀🚀", "🧑🏿‍🚀|🚀"),
    "flags": ("🇩🇪🇫🇷🏴\U000e0067\U000e0062\U000e007f", "🇩🇪|🇫🇷|🏴\U000e0067\U000e0062\U000e007f"),
    "keycap": ("#️⃣ 1️⃣", "#️⃣|1️⃣"),
    "unseen": ("a\u200bb\u200ec\ufeff", "a|b|c"),
    "spaces": (" \t\n\u3000\u00a0", ""),
}


@pytest.mark.parametrize(("text", "cut"), CUT.values(), ids=CUT.keys())
def test_a_text_is_cut_as_its_reader_would(text, cut):
    assert tokens(normalized(text)) == cut.split("|") * bool(cut)


def test_english_is_cut_as_by_a_short_pattern():
    text = "\n".join(make_sentences(200, random_state=0)[0]) + "rock'n'roll 'tis; 3,000 (a_b)?!..."
    assert tokens(text) == re.findall(r"[\w']+|[^\w\s]", text)


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        ("it|isn't|bad|.", "it isn't bad ."),
        ("he|said|“|ok|”", "he said “ ok ”"),
        ("我|爱|你|，|“|真|的|”|！", "我爱你，“真的”！"),
        ("我|用|python|写", "我用python写"),
        ("タ|ワ|ー|👍🏽|ok|👍🏽", "タワー👍🏽ok 👍🏽".replace("👍🏽ok", "👍🏽 ok")),
        ("안녕|세계", "안녕 세계"),
        ("ที่|นี่", "ที่นี่"),
        ("", ""),
    ],
)
def test_words_are_put_together_as_the_script_has_it(cut, text):
    assert joined(cut.split("|")) == text
    assert tokens(text) == [word for word in cut.split("|") if word]


def test_small_letters_are_composed():
    assert lowercased("I\u0307") == "i\u0307"  # there is no such letter
    assert lowercased("E\u0301") == "é"


# -- in the estimator ---------------------------------------------------------------------------


CHINESE = [
    "我爱北京。",
    "我爱上海。",
    "他住在北京。",
    "她住在上海。",
    "我们去北京！",
    "他们去上海！",
] * 3


def small(**settings):
    defaults = {"embedding_size": 6, "hidden_size": 8, "max_iter": 2, "max_length": 12}
    return BNVAETextEstimator(2, random_state=0, **defaults | settings)


def test_chinese_needs_no_option():
    vae = small().fit(CHINESE)
    assert set(vae.vocabulary_) == set("".join(CHINESE))
    first, second = vae.transform(["他爱上海。", "我们住在北京！"])  # that were not in fit
    assert abs(first - second).max() > 1e-3
    written = "".join([*vae.sample(9, random_state=0), *vae.inverse_transform([[0.0, 1.0]])])
    assert len(written) > 9
    assert set(written) <= set(vae.vocabulary_)  # so it has no spaces


def test_an_accent_is_the_same_in_one_character_or_two():
    vae = small().fit(["un café noir", "un thé vert"] * 3)
    assert "café" in vae.vocabulary_
    codes = vae.transform(["un café noir", "un cafe\u0301 noir"])
    np.testing.assert_array_equal(*codes)
    by_character = small(analyzer="char").fit(["café", "cafe\u0301"] * 3)
    assert set(by_character.vocabulary_) == set("café")


def test_words_of_a_segmenter_are_written_with_spaces():
    vae = small(tokenizer=str.split).fit(["我们 喜欢 猫", "你们 喜欢 狗"] * 3)
    assert all(set(written.split()) <= set(vae.vocabulary_) for written in vae.sample(5))


def test_a_pattern_of_ones_own_is_taken_as_it_is():
    vae = small(token_pattern=r"\w+").fit(["我爱 北京", "我爱 上海"] * 3)
    assert set(vae.vocabulary_) == {"我爱", "北京", "上海"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"analyzer": lambda text: [1, 2]},
            "analyzer must return tokens that are strings; for doc",
        ),
        (
            {"tokenizer": lambda text: [None]},
            "tokenizer must return .* None, of type NoneType. Con",
        ),
        ({"analyzer": str.lower}, "analyzer must return a list of tokens; for document 0 it ret"),
        ({"tokenizer": len}, "tokenizer must return a list of tokens; .* returned 5, of type int"),
    ],
)
def test_tokens_of_ones_own_are_lists_of_strings(settings, message):
    with pytest.raises(TypeError, match=message):
        small(**settings).fit(["a b c"] * 4)


def test_an_analyzer_may_be_a_generator():
    vae = small(analyzer=lambda text: (word for word in text.split())).fit(["a b", "b c"] * 3)
    assert set(vae.vocabulary_) == {"a", "b", "c"}


CALLS = {
    "partial_fit": lambda vae, X: vae.partial_fit(X),
    "transform": lambda vae, X: vae.transform(X),
    "score_samples": lambda vae, X: vae.score_samples(X, 2),
    "perplexity": lambda vae, X: vae.perplexity(X, 2),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_note_is_given_where_most_tokens_are_unknown(call):
    vae = small(max_length=15).fit(
        [*make_sentences(60, random_state=0)[0], *["a b c", "a", "b c", "z x"] * 5]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(vae, ["a b", "c X1"])
        call(vae, ["a X1", "b X2"])  # half of them
    with pytest.warns(UserWarning, match="3 of 4 tokens are not in the vocabulary of") as caught:
        call(vae, ["X1 X2", "a X3"])
    assert len(caught) == 1


def test_documents_without_words_have_no_unknown_ones():
    assert small().fit(["a b c", "", "b"] * 3).transform(["", ""]).shape == (2, 2)
