"""BNVAETextEstimator: the VAE over sentences, with a code that the decoder cannot leave out."""

from collections.abc import Callable, Iterable
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skvae._base import BaseVAE
from skvae._data.units import TokenUnits
from skvae._data.vocabulary import Analysis, Vocabulary
from skvae._fit.torch_state import plain_torch
from skvae._sklearn import Interval, StrOptions
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

    A recurrent network reads a sentence into a code of `n_components` numbers; another one writes
    it, word by word, given the code and the words so far. Such a decoder is strong enough to
    leave the code out, and with the usual posterior (``posterior="gaussian"``) that is what it
    learns: KL vanishing. Here the posterior's moments over the sentences are those of the prior,
    with at least `tau` of each component's unit second moment carried by its mean, so the code
    costs at least ``-d/2 log(1 - tau)`` nats, and the decoder makes use of what is paid for.

    Parameters
    ----------
    n_components : int, default=32
        Components ``d`` of the code.
    tau : float or (float, float), default=0.1
        Lower bound, in (0, 1), of the share of signal in each component; see
        `skvae.bounds.tau_for_rate`. The larger, the more the code says, and the less likely the
        model finds the sentences as a whole. Two numbers, lowest and highest, train one model for
        the whole range, as in `BNVAEEstimator`.
    posterior : {"moment", "batchnorm", "batchnorm-mean", "gaussian", "layernorm", "delta", \
            "none"} or callable, default="moment"
        As in `BNVAEEstimator`. "none" leaves the code out altogether: the plain language model,
        to compare with.
    analyzer : {"word", "char"} or callable, default="word"
        What a sentence is made of. A callable takes a document, of any type, and returns the
        list of its tokens, strings; then `tokenizer`, `lowercase` and `token_pattern` have no
        effect.
    tokenizer : callable or None, default=None
        Takes a document and returns the list of its words, instead of `token_pattern`.
    lowercase : bool, default=True
        Whether to write everything in small letters first.
    token_pattern : str or None, default=None
        What a word is, as a regular expression. None knows the scripts: a word is a run of
        letters, digits and apostrophes with the signs that they carry; in Chinese, Japanese,
        Thai, Lao, Burmese and Khmer, which put no spaces between words, a single character; and
        every other mark by itself, an emoji being one. See `skvae._data.words.tokens`.
    min_df : int or float, default=1
        Words in fewer sentences than this number, or this share of them, are unknown words.
    max_df : int or float, default=1.0
        Words in more sentences than this number, or this share of them, are unknown words.
    max_features : int or None, default=None
        The vocabulary has at most so many words, the most frequent ones.
    max_length : int, default=50
        Words after which a sentence is cut, with a warning that counts those that were.
    embedding_size : int, default=128
        Columns of a word's vector, in encoder and decoder.
    hidden_size : int, default=256
        Columns of the state of both recurrent networks.
    cell : {"lstm", "gru"}, default="lstm"
        The recurrence of both.
    pooling : {"mean", "last", "max"}, default="mean"
        How the encoder's states become features.
    tied : bool, default=True
        Whether the decoder's output layer uses its word vectors as weights.
    dropout : float, default=0.0
        Share of the entries of word vectors, and of what the output layer sees, that training
        sets to 0; in [0, 1).
    word_dropout : float, default=0.0
        Share of the words that the decoder reads as unknown words in training; in [0, 1).
    objective : {"elbo", "linear-annealing", "cyclical-annealing", "free-bits", \
            "lagging-encoder"} or skvae.objectives.Objective, default="elbo"
        As in `BNVAEEstimator`.
    beta : float, default=1.0
        Weight of the KL in the objective, on top of the objective's own schedule.
    learning_rate : float, default=3e-3
        Step of the Adam optimiser.
    average : bool, default=True
        Whether the finished networks have running averages of their weights, over the last 50
        steps or so of a call: that leaves out the noise that batches bring to them.
    batch_size : int or "auto", default="auto"
        Sentences of a batch, of all lengths. "auto" is an eighth of the sentences, but at least
        32 and at most 64.
    max_iter : int, default=10
        Epochs. All of them are run unless `early_stopping` is set.
    early_stopping : bool, default=False
        Whether to set sentences aside, stop when their ELBO no longer rises and go back to the
        best weights.
    validation_fraction : float, default=0.1
        Share of the sentences set aside by `early_stopping`.
    n_iter_no_change : int, default=3
        Epochs without improvement after which `early_stopping` stops.
    tol : float, default=1e-4
        Rise of the ELBO, in nats per sentence, that counts as an improvement.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights and the vocabulary of the last call.
    checkpoint : str, PathLike or None, default=None
        File that `fit` writes after each epoch and goes on from, as in `BNVAEEstimator`.
    device : str or torch.device, default="auto"
        As in `BNVAEEstimator`.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, shuffling and noise. Pass an int for reproducible results.
    verbose : int, default=0
        Prints the loss of every epoch if not 0.

    Attributes
    ----------
    vocabulary_ : dict
        From words to their token numbers in `module_`, which begin at 3: 0 is padding, 1 begin
        and end of a sentence, 2 every other word.
    module_ : skvae.model.VAE
        The trained PyTorch module, in evaluation mode.
    n_iter_ : int
        Epochs run.
    loss_curve_ : list of float
        Mean negative objective of a sentence in each epoch, in nats.
    history_ : dict of list of float
        As in `BNVAEEstimator`.
    validation_scores_ : list of float
        Mean objective of the sentences set aside, in nats; with `early_stopping` only.
    lower_bound_ : float
        Mean ELBO of the training sentences after training, in nats, with one draw a sentence.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL of each component over the training sentences, in nats.
    kl_floor_ : float
        What tau guarantees for the sum of `kl_per_component_`, in nats.

    See Also
    --------
    BNVAEEstimator : The same for tables of numbers.
    sklearn.feature_extraction.text.CountVectorizer : Words and vocabulary, whose parameters are
        named alike.

    References
    ----------
    Bowman et al. (2016), *Generating sentences from a continuous space*, arXiv:1511.06349. Zhu et
    al. (2020), *A batch normalized inference network keeps the KL vanishing away*, ACL 2020,
    arXiv:2004.12585.

    Examples
    --------
    >>> from skvae import BNVAETextEstimator
    >>> sentences = ["the cat sleeps .", "the dog sleeps .", "a dog barks !", "a cat runs ."] * 25
    >>> vae = BNVAETextEstimator(4, tau=0.5, hidden_size=32, embedding_size=16, random_state=0)
    >>> vae.fit(sentences).transform(["the cat sleeps ."]).shape
    (1, 4)
    >>> len(vae.sample(2, random_state=0))
    2
    """

    _parameter_constraints = {
        **BaseVAE._parameter_constraints,
        "posterior": [StrOptions({*POSTERIORS, "none"}), callable],
        "analyzer": [StrOptions({"word", "char"}), callable],
        "tokenizer": [callable, None],
        "lowercase": ["boolean"],
        "token_pattern": [str, None],
        "min_df": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="both"),
        ],
        "max_df": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="both"),
        ],
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
        average: bool = True,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        tol: float = 1e-4,
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
        if "_reader" not in vars(self):
            raise AttributeError(
                f"This {type(self).__name__} has no vocabulary_ yet: it is not fitted. Call fit."
            )
        return self._reader.numbers

    # -- training --------------------------------------------------------------------------

    def fit(self, X: Iterable[Any], y: Any = None, sample_weight: Any = None) -> Self:
        """Train on documents.

        Parameters
        ----------
        X : iterable of str
            The documents; with an analyzer of your own, whatever it takes.
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
            If documents were cut, if most tokens are no words of the vocabulary, or if training
            was interrupted by Ctrl-C: the weights are those of the last whole epoch.
        """
        return super().fit(X, y, sample_weight)

    def partial_fit(self, X: Iterable[Any], y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on documents, going on from the last call.

        The vocabulary is that of the first call. The moments are merged with those of former
        calls, whose weight is at most nine times that of this one.

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

    def _validate_rows(self, X, reset):
        documents = self._analysis().tokens(X)
        if reset:
            self._reader = Vocabulary.learn(documents, self.min_df, self.max_df, self.max_features)
        return self._reader.rows(documents, self.max_length)

    def _analysis(self):
        return Analysis(
            self.analyzer, self.tokenizer, self.lowercase, self.token_pattern, self.max_length
        )

    def _build(self, X):
        n_tokens, d = self._reader.n_tokens, self.n_components
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
            posterior = PriorPosterior(1, d, self._first_tau())
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
        posterior = module_of(
            "posterior", make_posterior, encoder.out_features, d, self._first_tau()
        )
        return VAE(encoder, posterior, nn.Identity(), likelihood, StandardNormal(d))

    def _measure(self, module, X, weight):
        weight = None if weight is None else np.repeat(weight, X.shape[1] - 1)
        n_tokens = self._reader.n_tokens
        counts = np.bincount(X[:, 1:].ravel(), weight, minlength=n_tokens).astype(float)
        counts[PADDING] = 0.0
        module.likelihood_layer.start(torch.from_numpy(counts / counts.sum()))
        return TokenUnits(n_tokens, self.max_length)

    def _batch_size(self, n_rows):
        if self.batch_size == "auto":
            return min(max(n_rows // 8, 32), 64)
        return self.batch_size

    # -- using the code --------------------------------------------------------------------

    def transform(self, X: Iterable[Any], out: Any = None) -> Any:
        """Encode documents: the posterior means.

        Parameters
        ----------
        X : iterable of str
            The documents.
        out : array of shape (n_samples, n_components), default=None
            Where to put the codes, as in `BNVAEEstimator.transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The same for the same document in any company; never a random draw.
        """
        return super().transform(X, out)

    def encode(self, X: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Encode documents: means and standard deviations of the posteriors.

        Parameters
        ----------
        X : iterable of str
            The documents.

        Returns
        -------
        tuple of ndarray of shape (n_samples, n_components)
            The means, as `transform` returns them, and the standard deviations.
        """
        return super().encode(X)

    def score_samples(
        self,
        X: Iterable[Any],
        n_draws: int = 32,
        bound: Literal["importance", "elbo"] = "importance",
        out: Any = None,
    ) -> np.ndarray:
        """Lower bound on the log-probability of each document, its end included.

        Parameters
        ----------
        X : iterable of str
            The documents.
        n_draws : int, default=32
            Codes drawn for each document. The noise is a fixed function of the document.
        bound : {"importance", "elbo"}, default="importance"
            The importance-weighted bound, which more draws tighten, or the ELBO, which more
            draws only estimate better.
        out : array of shape (n_samples,), default=None
            Where to put the scores, as in `transform`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Nats per document; larger is better.
        """
        return super().score_samples(X, n_draws, bound, out)

    def score(self, X: Iterable[Any], y: Any = None) -> float:
        """Mean of `score_samples`: a lower bound on the log-probability of a document.

        Parameters
        ----------
        X : iterable of str
            The documents.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        float
            Nats per document; larger is better.
        """
        return super().score(X)

    def diagnose(self, X: Iterable[Any], n_draws: int = 32) -> Diagnosis:
        """Find out whether the code is alive and whether the decoder listens.

        Parameters
        ----------
        X : iterable of str
            At least two documents; held-out ones say more than those of the fit.
        n_draws : int, default=32
            Codes drawn for each document, as in `BNVAEEstimator.diagnose`.

        Returns
        -------
        skvae.diagnostics.Diagnosis
            Prints as a table, with a verdict in words; in nats per document.
        """
        return super().diagnose(X, n_draws)

    @plain_torch()
    def inverse_transform(self, X: Any, n_beams: int = 1) -> list[str]:
        """Decode codes: the likeliest sentence that is found for each.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.
        n_beams : int, default=1
            Beginnings of sentences that the search keeps after each word. With one, every word
            is the likeliest to follow.

        Returns
        -------
        list of str
            Tokens with a space between them, where the script has one (nothing between characters).
            The unknown word is never written.
        """
        if not isinstance(n_beams, Integral) or n_beams < 1:
            raise ValueError(f"n_beams must be an int of at least 1; got {n_beams!r}")
        return self._sentences(
            self._infer_codes(X, lambda module, z, _: module.likelihood(z).mode(n_beams))
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
            Seed of this call; None draws other sentences each time.
        temperature : float, default=1.0
            The logits are divided by it: below 1 makes likely words likelier.
        top_p : float, default=1.0
            In (0, 1]: only the likeliest words are drawn that together have this probability.

        Returns
        -------
        list of str
            As `inverse_transform` returns them.
        """
        if not temperature > 0.0:
            raise ValueError(f"temperature must be above 0; got {temperature!r}")
        if not 0.0 < top_p <= 1.0:
            raise ValueError(f"top_p must lie in (0, 1]; got {top_p!r}")

        def draw(likelihood, draws):
            generator = draws.generator(likelihood.z.device)
            return likelihood.sample(temperature=temperature, top_p=top_p, generator=generator)

        return self._sentences(torch.cat(self._draw(n_samples, random_state, draw)))

    def interpolate(self, a: Any, b: Any, n_samples: int = 7, n_beams: int = 1) -> list[str]:
        """Walk from one sentence to another, in a straight line between their codes.

        Parameters
        ----------
        a, b : str
            The ends, as documents of `fit`.
        n_samples : int, default=7
            Sentences, those that the two codes stand for included; at least 2.
        n_beams : int, default=1
            As in `inverse_transform`.

        Returns
        -------
        list of str
            What `inverse_transform` makes of the codes on the way.
        """
        if not isinstance(n_samples, Integral) or n_samples < 2:
            raise ValueError(f"n_samples must be an int of at least 2; got {n_samples!r}")
        start, end = self.transform([a, b])
        return self.inverse_transform(np.linspace(start, end, n_samples), n_beams)

    def perplexity(self, X: Iterable[Any], n_draws: int = 32) -> float:
        """Exponential of the mean negative log-probability of a token, the ends included.

        Parameters
        ----------
        X : list of str
            The sentences.
        n_draws : int, default=32
            As in `score_samples`, whose bound on the log-probability this rests on; so it is an
            upper bound.

        Returns
        -------
        float
            The smaller, the better; the size of the vocabulary for a model that knows nothing.
        """
        check_is_fitted(self)
        documents = self._analysis().tokens(X)
        n_tokens = sum(min(len(tokens), self.max_length) + 1 for tokens in documents)
        return float(np.exp(-self.score_samples(X, n_draws).sum() / n_tokens))

    def _sentences(self, numbers):
        return self._reader.documents(self._units.array(numbers), self._analysis())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags
