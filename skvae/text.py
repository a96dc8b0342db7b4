"""BNVAETextEstimator: the VAE of sentences, whose decoder cannot ignore the code."""

from collections.abc import Callable, Iterable
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skvae._base import BaseVAE, managing_callbacks
from skvae._data.units import TokenUnits
from skvae._data.vocabulary import Analysis, Vocabulary
from skvae._fit.torch_state import plain_torch
from skvae._sklearn import Interval, StrOptions
from skvae._use import check_number
from skvae.diagnostics import Diagnosis
from skvae.likelihoods.sentences import TokensLikelihood
from skvae.model import VAE, module_of
from skvae.networks import Constant
from skvae.networks.recurrent import CELLS, PADDING, POOLS, RecurrentEncoder
from skvae.objectives import Objective
from skvae.posteriors import POSTERIORS, PriorPosterior
from skvae.priors import StandardNormal


class BNVAETextEstimator(BaseVAE):
    """Variational autoencoder of sentences, whose code cannot collapse.

    A recurrent network reads a sentence into a code of `n_components` numbers. Another one writes
    it word by word, given the code and the words so far. Such a decoder is strong enough to
    ignore the code, and with the usual posterior (``posterior="gaussian"``) it learns to do so:
    KL vanishing. Here the posterior's moments over the sentences are those of the prior, with at
    least `tau` of each component's unit second moment in its mean. The code therefore costs at
    least ``-d/2 log(1 - tau)`` nats, and the decoder learns to use it.

    Parameters
    ----------
    n_components : int, default=32
        Number ``d`` of components of the code.
    tau : float or (float, float), default=0.1
        Lower bound, in (0, 1), of the share of signal in each component; see
        `skvae.bounds.tau_for_rate`. A larger `tau` makes the code more informative and the
        sentences less probable. Two numbers, lowest and highest, train one model for the whole
        range, as in `BNVAEEstimator`.
    posterior : {"moment", "batchnorm", "batchnorm-mean", "gaussian", "layernorm", "delta", \
            "none"} or callable, default="moment"
        Constraint on the posterior, as in `BNVAEEstimator`. "none" has no code at all: it is the
        plain language model, for comparison.
    analyzer : {"word", "char"} or callable, default="word"
        Kind of the tokens. A callable takes a document, of any type, and returns the list of
        its tokens, which are strings; `tokenizer`, `lowercase` and `token_pattern` then have no
        effect.
    tokenizer : callable or None, default=None
        Function from a document to the list of its words, instead of `token_pattern`.
    lowercase : bool, default=True
        Whether to convert documents to lower case first.
    token_pattern : str or None, default=None
        Regular expression of a word. With None, a word is a run of letters, digits and
        apostrophes with their accents and vowel signs. In Chinese, Japanese, Thai, Lao, Burmese
        and Khmer, which have no spaces between words, it is a single character. Every other mark,
        such as an emoji, is a token by itself. See `skvae._data.words.tokens`.
    min_df : int or float, default=1
        Smallest number or share of sentences in which a word occurs; rarer words are unknown words.
    max_df : int or float, default=1.0
        Largest number or share of sentences in which a word occurs; more frequent words are unknown
        words.
    max_features : int or None, default=None
        Largest number of words in the vocabulary, which keeps the most frequent ones.
    max_length : int, default=50
        Number of words after which a sentence is cut. A warning counts the sentences cut.
    embedding_size : int, default=128
        Size of the word vectors of encoder and decoder.
    hidden_size : int, default=256
        Size of the states of both recurrent networks.
    cell : {"lstm", "gru"}, default="lstm"
        Cell of both recurrent networks.
    pooling : {"mean", "last", "max"}, default="mean"
        Summary of the encoder's states as features.
    tied : bool, default=True
        Whether the decoder's output layer uses its word vectors as weights.
    dropout : float, default=0.0
        Share, in [0, 1), of the entries of word vectors and of the output layer's inputs that are
        set to 0 in training.
    word_dropout : float, default=0.0
        Share, in [0, 1), of the words that the decoder reads as unknown words in training.
    objective : {"elbo", "linear-annealing", "cyclical-annealing", "free-bits"} or \
            skvae.objectives.Objective, default="elbo"
        Function that training maximizes, as in `BNVAEEstimator`.
    beta : float, default=1.0
        Weight of the KL in the objective, multiplied with the objective's own schedule.
    learning_rate : float, default=3e-3
        Step size of the AdamW optimizer, with the course that it has in `BNVAEEstimator`.
    weight_decay : float or "auto", default=0.0
        Share of each weight matrix of the decoder, times the learning rate, by which a step
        shrinks it. "auto" is that of `BNVAEEstimator`, which is negligible for many sentences.
    average : bool, default=True
        Whether the final weights of the networks are running averages over about the last 50
        steps of a call, which removes the noise of the batches.
    batch_size : int or "auto", default="auto"
        Number of sentences of a batch. "auto" is an eighth of the sentences, but at least 32 and
        at most 64.
    max_iter : int or None, default=None
        Number of epochs or, with early stopping, the largest number. None trains until held-out
        sentences no longer improve, as in `BNVAEEstimator`.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out sentences, stop when their ELBO no longer rises and end with all
        sentences, as in `BNVAEEstimator`. "auto" does so if `max_iter` is None and there are
        at least 1,000 sentences or, with ``weight_decay=0``, at least 20.
    validation_fraction : float, default=0.1
        Share of the sentences held out by `early_stopping`.
    n_iter_no_change : int or None, default=None
        Number of epochs without a rise after which `early_stopping` stops, as in `BNVAEEstimator`.
    tol : float, default=0.1
        Smallest rise of the ELBO that counts, in nats per sentence, as in `BNVAEEstimator`.
    warm_start : bool, default=False
        Whether `fit` continues from the weights and the vocabulary of the last call.
    checkpoint : str, PathLike or None, default=None
        File that `fit` writes after each epoch and continues from, as in `BNVAEEstimator`.
    device : str or torch.device, default="auto"
        Device of the networks, as in `BNVAEEstimator`.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, shuffling and noise. Pass an int for reproducible results.
    verbose : int, default=0
        Whether to print the loss of every epoch; 0 prints nothing.

    Attributes
    ----------
    vocabulary_ : dict
        Token numbers of the words in `module_`, from 3 on: 0 is padding, 1 the beginning and the
        end of a sentence, 2 every unknown word.
    module_ : skvae.model.VAE
        The trained PyTorch module, in evaluation mode.
    n_iter_ : int
        Number of epochs run.
    loss_curve_ : list of float
        Mean negative objective per sentence in each epoch, in nats.
    history_ : dict of list of float
        Curves of the loss and its terms, as in `BNVAEEstimator`.
    validation_scores_ : list of float
        Mean objective of the held-out sentences after each epoch, as in `BNVAEEstimator`.
    lower_bound_ : float
        Mean ELBO of the training sentences after training, in nats, with one draw per sentence.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL of each component over the training sentences, in nats.
    tau_ : float
        Value in use of `tau`, as in `BNVAEEstimator`.
    kl_floor_ : float
        Lower bound that `tau_` guarantees for the sum of `kl_per_component_`, in nats.

    See Also
    --------
    BNVAEEstimator : The estimator for tables.
    sklearn.feature_extraction.text.CountVectorizer : Counts of words, with the same parameters for
        words and vocabulary.

    References
    ----------
    Bowman et al. (2016), *Generating sentences from a continuous space*, arXiv:1511.06349. Zhu et
    al. (2020), *A batch normalized inference network keeps the KL vanishing away*, ACL 2020,
    arXiv:2004.12585.

    Examples
    --------
    >>> from skvae import BNVAETextEstimator
    >>> sentences = ["the cat sleeps .", "the dog sleeps .", "a dog barks !", "a cat runs ."] * 25
    >>> sizes = {"hidden_size": 32, "embedding_size": 16}
    >>> vae = BNVAETextEstimator(4, tau=0.5, max_iter=10, random_state=0, **sizes)
    >>> vae.fit(sentences).transform(["the cat sleeps ."]).shape
    (1, 4)
    >>> len(vae.sample(2, random_state=0))
    2
    """

    # By this attribute, skrub recognizes estimators that take a column of a frame, not the frame.
    __single_column_transformer__ = True

    _largest_batch = 64

    _parameter_constraints = {
        **BaseVAE._parameter_constraints,
        "posterior": [StrOptions({*POSTERIORS, "none"}), callable],
        "analyzer": [StrOptions({"word", "char"}), callable],
        "tokenizer": [callable, None],
        "lowercase": ["boolean"],
        "token_pattern": [str, None],
        "min_df": [Interval(Integral, 1, None, closed="left"), Interval(Real, 0, 1, closed="both")],
        "max_df": [Interval(Integral, 1, None, closed="left"), Interval(Real, 0, 1, closed="both")],
        "max_features": [Interval(Integral, 1, None, closed="left"), None],
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "embedding_size": [Interval(Integral, 1, None, closed="left")],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "cell": [StrOptions(set(CELLS))],
        "pooling": [StrOptions(set(POOLS))],
        "tied": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "word_dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 32,
        *,
        tau: float | tuple[float, float] = 0.1,
        posterior: str | Callable[..., nn.Module] = "moment",
        analyzer: str | Callable[[Any], Iterable[str]] = "word",
        tokenizer: Callable[[str], Iterable[str]] | None = None,
        lowercase: bool = True,
        token_pattern: str | None = None,
        min_df: float = 1,
        max_df: float = 1.0,
        max_features: int | None = None,
        max_length: int = 50,
        embedding_size: int = 128,
        hidden_size: int = 256,
        cell: Literal["lstm", "gru"] = "lstm",
        pooling: Literal["mean", "last", "max"] = "mean",
        tied: bool = True,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        objective: str | Objective = "elbo",
        beta: float = 1.0,
        learning_rate: float = 3e-3,
        weight_decay: float | Literal["auto"] = 0.0,
        average: bool = True,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int | None = None,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        tol: float = 0.1,
        warm_start: bool = False,
        checkpoint: str | PathLike[str] | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.tau = tau
        self.posterior = posterior
        self.analyzer = analyzer
        self.tokenizer = tokenizer
        self.lowercase = lowercase
        self.token_pattern = token_pattern
        self.min_df = min_df
        self.max_df = max_df
        self.max_features = max_features
        self.max_length = max_length
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.cell = cell
        self.pooling = pooling
        self.tied = tied
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.objective = objective
        self.beta = beta
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.average = average
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @property
    def vocabulary_(self) -> dict[str, int]:
        """Token numbers of the words in `module_`."""
        return self._model.reader.numbers

    @plain_torch()
    @managing_callbacks
    def fit(self, X: Iterable[Any], y: Any = None, sample_weight: Any = None) -> Self:
        """Train on documents.

        Parameters
        ----------
        X : iterable of str
            The documents. They may be of other types if `analyzer` is a function that takes them.
        y : Ignored
            Present for API consistency; callbacks see it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the documents, in the objective and in the moments.

        Returns
        -------
        self : BNVAETextEstimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the documents cannot be used, or if the objective became infinite or
            NaN in the first epoch. The estimator is then as it was before the call.

        Warns
        -----
        ConvergenceWarning
            If the objective became infinite or NaN in a later epoch: the weights are those of
            the epoch before.
        UserWarning
            If documents were cut, if most tokens are unknown words, or if training was
            interrupted by Ctrl-C: the weights are those of the last complete epoch.
        """
        return self._fit(X, y, sample_weight)

    def partial_fit(self, X: Iterable[Any], y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on documents, continuing from the last call.

        The vocabulary is that of the first call. The moments are merged with those of earlier
        calls, which have at most nine times the weight of this one.

        Parameters
        ----------
        X : iterable of str
            The documents.
        y : Ignored
            Present for API consistency; callbacks see it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the documents, in the objective and in the moments.

        Returns
        -------
        self : BNVAETextEstimator
            The fitted estimator.

        Raises
        ------
        ValueError
            As for `fit`.
        """
        return super().partial_fit(X, y, sample_weight)

    def _read(self, X, reader=None):
        documents = self._analysis().tokens(X)
        if reader is None:
            reader = Vocabulary.learn(documents, self.min_df, self.max_df, self.max_features)
        return reader.rows(documents, self.max_length), reader

    def _analysis(self):
        return Analysis(self.analyzer, self.tokenizer, self.lowercase, self.token_pattern)

    def _build(self, rows, reader, tau):
        n_tokens, d = reader.n_tokens, self.n_components
        likelihood = TokensLikelihood(
            n_tokens,
            self.max_length,
            d,
            self.embedding_size,
            self.hidden_size,
            cell=self.cell,
            tied=self.tied,
            dropout=self.dropout,
            word_dropout=self.word_dropout,
        )
        if self.posterior == "none":
            posterior = PriorPosterior(1, d, tau)
            return VAE(Constant(1), posterior, Constant(d), likelihood, StandardNormal(d))
        encoder = RecurrentEncoder(
            n_tokens,
            self.embedding_size,
            self.hidden_size,
            cell=self.cell,
            pooling=self.pooling,
            dropout=self.dropout,
        )
        make_posterior = POSTERIORS.get(self.posterior, self.posterior)
        posterior = module_of("posterior", make_posterior, encoder.out_features, d, tau)
        return VAE(encoder, posterior, nn.Identity(), likelihood, StandardNormal(d))

    def _initialize(self, module, X, reader, weight):
        weight = None if weight is None else np.repeat(weight, X.shape[1] - 1)
        n_tokens = reader.n_tokens
        counts = np.bincount(X[:, 1:].ravel(), weight, minlength=n_tokens).astype(float)
        counts[PADDING] = 0.0
        module.likelihood_layer.start(torch.from_numpy(counts / counts.sum()))
        return TokenUnits(n_tokens, self.max_length)

    # -- using the code --------------------------------------------------------------------

    def transform(self, X: Iterable[Any], out: Any = None) -> Any:
        """Encode documents as the means of their posteriors.

        Parameters
        ----------
        X : iterable of str
            The documents.
        out : array of shape (n_samples, n_components), default=None
            Destination of the codes, as in `BNVAEEstimator.transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Codes, which are not random. The code of a document does not depend on the others.
        """
        return super().transform(X, out)

    def encode(self, X: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Encode documents as the means and standard deviations of their posteriors.

        Parameters
        ----------
        X : iterable of str
            The documents.

        Returns
        -------
        tuple of ndarray of shape (n_samples, n_components)
            Means, as `transform` returns them, and standard deviations.
        """
        return super().encode(X)

    def score_samples(
        self,
        X: Iterable[Any],
        n_draws: int = 32,
        bound: Literal["importance", "elbo"] = "importance",
        out: Any = None,
    ) -> np.ndarray:
        """Compute a lower bound on the log-probability of each document, its end included.

        Parameters
        ----------
        X : iterable of str
            The documents.
        n_draws : int, default=32
            Number of codes drawn for each document, with noise that depends on the document only.
        bound : {"importance", "elbo"}, default="importance"
            The importance-weighted bound, which more draws tighten, or the ELBO, which more
            draws only estimate more precisely.
        out : array of shape (n_samples,), default=None
            Destination of the scores, as in `transform`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Bound in nats for each document; larger is better.
        """
        return super().score_samples(X, n_draws, bound, out)

    def score(self, X: Iterable[Any], y: Any = None) -> float:
        """Compute the mean of `score_samples`, a lower bound on the log-probability of a document.

        Parameters
        ----------
        X : iterable of str
            The documents.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        float
            Mean bound in nats per document; larger is better.
        """
        return super().score(X)

    def diagnose(self, X: Iterable[Any], n_draws: int = 32) -> Diagnosis:
        """Find out whether the code is alive and whether the decoder uses it.

        Parameters
        ----------
        X : iterable of str
            At least two documents, preferably held out from the training.
        n_draws : int, default=32
            Number of codes drawn for each document, as in `BNVAEEstimator.diagnose`.

        Returns
        -------
        skvae.diagnostics.Diagnosis
            Measures in nats per document, which print as a table with a verdict.
        """
        return super().diagnose(X, n_draws)

    @plain_torch()
    def inverse_transform(self, X: Any, n_beams: int = 1) -> list[str]:
        """Decode codes as the most probable sentences that a search finds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            The codes.
        n_beams : int, default=1
            Number of beginnings of sentences that the search keeps after each word. With one, each
            word is the most probable one after those before.

        Returns
        -------
        list of str
            Sentences, with spaces between words where the script has them, and without spaces if
            tokens are characters. The unknown word is never written.
        """
        check_number("n_beams", n_beams)
        return self._sentences(
            self._map_codes(X, lambda module, z, _: module.likelihood(z).mode(n_beams))
        )

    @plain_torch()
    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> list[str]:
        """Draw new sentences: codes from the prior, words from the likelihood.

        Parameters
        ----------
        n_samples : int, default=1
            Number of sentences.
        random_state : int, RandomState instance or None, default=None
            Seed of this call; None draws different sentences each time.
        temperature : float, default=1.0
            Divisor of the logits. Below 1, probable words become more probable.
        top_p : float, default=1.0
            Probability in (0, 1]. Words are drawn from the smallest set that reaches it.

        Returns
        -------
        list of str
            Sentences, in the form that `inverse_transform` returns.
        """
        if not (isinstance(temperature, Real) and temperature > 0.0):
            raise ValueError(f"temperature must be above 0; got {temperature!r}")
        if np.isinf(temperature):
            raise ValueError(f"temperature must be finite; got {temperature!r}")
        if not (isinstance(top_p, Real) and 0.0 < top_p <= 1.0):
            raise ValueError(f"top_p must lie in (0, 1]; got {top_p!r}")

        def draw(likelihood, draws):
            generator = draws.generator(likelihood.z.device)
            return likelihood.sample(temperature=temperature, top_p=top_p, generator=generator)

        return self._sentences(self._draw(n_samples, random_state, draw))

    def interpolate(self, a: Any, b: Any, n_samples: int = 7, n_beams: int = 1) -> list[str]:
        """Walk from one sentence to another, in a straight line between their codes.

        Parameters
        ----------
        a, b : str
            Documents at both ends.
        n_samples : int, default=7
            Number of sentences, at least 2, including those at both ends.
        n_beams : int, default=1
            Width of the search, as in `inverse_transform`.

        Returns
        -------
        list of str
            Decoded sentences, from `a` to `b`.
        """
        check_number("n_samples", n_samples, least=2)
        start, end = self.transform([a, b])
        return self.inverse_transform(np.linspace(start, end, n_samples), n_beams)

    def perplexity(self, X: Iterable[Any], n_draws: int = 32) -> float:
        """Compute the exponential of the mean negative log-probability of a token, ends included.

        Parameters
        ----------
        X : list of str
            The sentences.
        n_draws : int, default=32
            Number of codes drawn for each sentence, as in `score_samples`.

        Returns
        -------
        float
            Upper bound on the perplexity, because `score_samples` is a lower bound. Smaller is
            better; a model that has learned nothing reaches about the size of the vocabulary.
        """
        check_is_fitted(self)
        documents = self._analysis().tokens(X)
        n_tokens = sum(min(len(tokens), self.max_length) + 1 for tokens in documents)
        return float(np.exp(-self.score_samples(X, n_draws).sum() / n_tokens))

    def _sentences(self, numbers):
        return self._model.reader.documents(self._model.units.array(numbers), self._analysis())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags
