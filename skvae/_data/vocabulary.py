"""From documents to rows of token numbers, and from token numbers to sentences."""

import re
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from skvae._data import words
from skvae._warnings import warn
from skvae.networks.recurrent import BOUNDARY, N_SPECIAL, PADDING, UNKNOWN


class Analysis(NamedTuple):
    """The user's choice of how documents are cut into tokens and tokens joined to sentences.

    The fields have the names and the meaning of the parameters of `CountVectorizer`, except that
    words are those of `skvae._data.words` if `token_pattern` is None.
    """

    analyzer: str | Callable
    tokenizer: Callable | None
    lowercase: bool
    token_pattern: str | None

    def tokens(self, X):
        """Cut each document into the list of its tokens.

        Documents are strings, or of any type if `analyzer` is a function.
        """
        documents = _checked_documents(X, any_type=callable(self.analyzer))
        analyze = self._vectorizer().build_analyzer()
        name = "analyzer" if callable(self.analyzer) else "tokenizer"
        return [
            _checked_tokens(name, analyze(document), number)
            for number, document in enumerate(documents)
        ]

    def _vectorizer(self):
        tokenizer = token_pattern = None
        if self.analyzer == "word":
            tokenizer = words.tokens if self._has_default_words() else self.tokenizer
            token_pattern = None if tokenizer else _checked_pattern(self.token_pattern)
        return CountVectorizer(
            analyzer=self.analyzer,
            tokenizer=tokenizer,
            preprocessor=words.lowercased if self.lowercase else words.normalized,
            token_pattern=token_pattern,
        )

    def _has_default_words(self):
        """Return whether words are those of `skvae._data.words`."""
        return self.analyzer == "word" and self.tokenizer is None and self.token_pattern is None

    def joined(self, tokens):
        """Join tokens to a sentence, with spaces between words where the script has them."""
        if self._has_default_words():
            return words.joined(tokens)
        return ("" if self.analyzer == "char" else " ").join(tokens)


class Vocabulary:
    """The words learned from documents, each with its token number.

    Numbers begin with 3: 0 is padding, 1 the boundary of a sentence and 2 every unknown word.

    Examples
    --------
    >>> analysis = Analysis("word", None, True, None)
    >>> vocabulary = Vocabulary.learn(analysis.tokens(["A cat.", "a dog"]))
    >>> vocabulary.numbers
    {'.': 3, 'a': 4, 'cat': 5, 'dog': 6}
    >>> rows = vocabulary.rows(analysis.tokens(["A dog.", "cat"]), max_length=3)
    >>> rows
    array([[1, 4, 6, 3, 1],
           [1, 5, 1, 0, 0]], dtype=int32)
    >>> vocabulary.documents(rows, analysis)
    ['a dog .', 'cat']
    """

    def __init__(self, numbers):
        self.numbers = numbers

    @classmethod
    def learn(cls, documents, min_df=1, max_df=1.0, max_features=None):
        """Choose words by the number of documents that have them; number them alphabetically."""
        vectorizer = CountVectorizer(
            analyzer=list, min_df=min_df, max_df=max_df, max_features=max_features
        )
        try:
            found = vectorizer.fit(documents).get_feature_names_out()
        except ValueError as error:
            raise ValueError(
                f"X leaves no vocabulary: {error}. Lower min_df (now {min_df!r}), raise "
                f"max_df (now {max_df!r}), or look at the tokens that analyzer and token_pattern "
                "make of the documents."
            ) from error
        return cls({word: N_SPECIAL + place for place, word in enumerate(found.tolist())})

    @property
    def n_tokens(self):
        """Number of words, including the special tokens."""
        return N_SPECIAL + len(self.numbers)

    def rows(self, documents, max_length):
        """Number the tokens of documents, and warn if many of them are lost.

        A row of the result, of shape (n_samples, max_length + 2), has its tokens between two
        boundaries and is padded on the right.
        """
        lengths = np.array([len(tokens) for tokens in documents])
        n_long = int((lengths > max_length).sum())
        if n_long:
            warn(
                f"{n_long} of {len(documents)} documents are longer than max_length={max_length} "
                f"and were cut there; the longest has {lengths.max()} tokens."
            )
        lengths = lengths.clip(max=max_length)
        tokens = chain.from_iterable(tokens[:max_length] for tokens in documents)
        numbers = (self.numbers.get(token, UNKNOWN) for token in tokens)
        numbers = np.fromiter(numbers, np.int32, lengths.sum())
        n_unknown = int((numbers == UNKNOWN).sum())
        if 2 * n_unknown > len(numbers):
            warn(
                f"{n_unknown} of {len(numbers)} tokens are not in the vocabulary of "
                f"{len(self.numbers)} words that fit has learned: such documents look alike. Fit "
                "on documents of this kind, with a lower min_df or a larger max_features, or "
                "check how analyzer and token_pattern cut them."
            )
        columns = np.arange(max_length + 2)
        rows = np.full((len(documents), len(columns)), PADDING, dtype=np.int32)
        rows[(columns > 0) & (columns <= lengths[:, None])] = numbers
        rows[:, 0] = rows[np.arange(len(rows)), lengths + 1] = BOUNDARY
        return rows

    def documents(self, rows, analysis):
        """Write a sentence for each row of token numbers, without the special tokens."""
        word_of = {number: word for word, number in self.numbers.items()}
        return [
            analysis.joined(word_of[number] for number in row if number >= N_SPECIAL)
            for row in rows.tolist()
        ]


def _checked_pattern(pattern):
    """The regular expression of a token, if it is one with at most one group."""
    try:
        n_groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(
            f"token_pattern must be a regular expression; got {pattern!r}: {error}"
        ) from error
    if n_groups > 1:
        raise ValueError(
            f"token_pattern must have at most one capturing group; got {pattern!r} with "
            f"{n_groups}. Write the others as (?:...)."
        )
    return pattern


def _checked_documents(X, any_type):
    """Return the documents as a list; refuse documents that are not strings, unless `any_type`."""
    if isinstance(X, str):
        raise ValueError("X must be a list of documents; got a single string. Pass [X].")
    if len(getattr(X, "shape", (0,))) != 1:
        raise ValueError(
            f"X must be a list of documents, of one dimension; got the shape {X.shape}. "
            "Pass one column of it."
        )
    documents = list(X)
    if not documents:
        raise ValueError("X must hold at least one document; got none")
    for number, document in enumerate(documents):
        if not any_type and not isinstance(document, str):
            raise ValueError(
                f"X must hold strings; document {number} is of type {type(document).__name__}. "
                "Replace missing documents by '', or pass an analyzer that takes documents of "
                "this type."
            )
    return documents


def _checked_tokens(name, tokens, number):
    """Return the tokens that a function made of a document, as a list; refuse all but strings."""
    if isinstance(tokens, str) or not isinstance(tokens, Iterable):
        raise TypeError(
            f"{name} must return a list of tokens; for document {number} it returned "
            f"{tokens!r:.50}, of type {type(tokens).__name__}"
        )
    tokens = list(tokens)
    for token in tokens:
        if not isinstance(token, str):
            raise TypeError(
                f"{name} must return tokens that are strings; for document {number} it returned "
                f"{token!r:.50}, of type {type(token).__name__}. Convert them to strings, by "
                "str(token) for example."
            )
    return tokens
