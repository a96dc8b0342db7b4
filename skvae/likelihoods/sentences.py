"""The likelihood of sentences: each token given the code and the tokens before it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution

from skvae.likelihoods.base import Likelihood
from skvae.networks.recurrent import BOUNDARY, N_SPECIAL, PADDING, UNKNOWN, RecurrentDecoder


class _LogSoftmaxAt(torch.autograd.Function):
    """Log-softmax of each row at one target, with little memory.

    The logits of all tokens are the largest array of a training step. The probabilities overwrite
    them, and a single pass turns these into the gradient.
    """

    @staticmethod
    def forward(ctx, logits, targets):
        at_target = logits.gather(1, targets.unsqueeze(1))
        largest, where = logits.max(dim=1, keepdim=True)
        probabilities = torch.softmax(logits, dim=1, out=logits)
        ctx.save_for_backward(probabilities, targets)
        # log sum exp, from the largest probability. That is at least 1 / n_tokens, so its logarithm
        # is accurate whatever the other logits are.
        log_sum = largest - probabilities.gather(1, where).log()
        return (at_target - log_sum).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        probabilities, targets = ctx.saved_tensors
        grad = grad.unsqueeze(1)
        return (probabilities * -grad).scatter_add_(1, targets.unsqueeze(1), grad), None


def nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Set to 0 all but the largest probabilities that together reach `top_p`.

    Parameters
    ----------
    probabilities : Tensor of shape (n_samples, n_tokens)
        Probabilities, which sum to 1 in each row.
    top_p : float
        Probability to reach, in (0, 1].

    Returns
    -------
    Tensor of shape (n_samples, n_tokens)
        Remaining probabilities, which are not rescaled to sum to 1.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import nucleus
    >>> nucleus(torch.tensor([[0.5, 0.125, 0.375]]), 0.75).tolist()
    [[0.5, 0.0, 0.375]]
    """
    if top_p >= 1.0:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    reached_before = ordered.cumsum(-1) - ordered >= top_p
    reached_before[..., 0] = False  # in single precision, top_p itself may be 0
    kept = ordered.masked_fill(reached_before, 0.0)
    return torch.zeros_like(ordered).scatter(-1, order, kept)


def _writable(logits):
    """Return a copy of logits in which the tokens that are never written have probability 0."""
    logits = logits.clone()
    logits[:, [PADDING, UNKNOWN]] = -torch.inf
    return logits


def _has_ended(newest, step):
    """Return whether each sentence ended before this step; the boundary of step 0 begins it."""
    return (newest == PADDING) | ((newest == BOUNDARY) & (step > 1))


def _with_final_boundary(tokens):
    """Write a boundary after the last word of each sentence, even of those cut for length."""
    lengths = (tokens != PADDING).sum(1)
    ends_in_boundary = tokens.gather(1, (lengths - 1).unsqueeze(1)).squeeze(1) == BOUNDARY
    unfinished = ~(ends_in_boundary & (lengths > 1))
    tokens[unfinished, lengths[unfinished]] = BOUNDARY
    return tokens


class TokensLikelihood(Likelihood):
    """A sentence token by token, ``log p(x|z) = sum_t log p(x_t | x_<t, z)``.

    The recurrent network that reads the earlier tokens belongs to the likelihood. The VAE's decoder
    only maps the code to the input of this network; in `skvae.BNVAETextEstimator` it is the
    identity.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, including the special tokens.
    max_length : int
        Number of words of the longest sentence that is generated.
    n_outputs : int
        Number of columns of the decoder's output.
    embedding_size, hidden_size : int
        Number of columns of a word vector and of the recurrent state.
    cell : {"lstm", "gru"}, default="lstm"
        Kind of the recurrent cell.
    tied : bool, default=True
        Whether the output layer uses the word vectors as its weights.
    dropout : float, default=0.0
        Dropout rate, as in `skvae.networks.RecurrentDecoder`.
    word_dropout : float, default=0.0
        Share of the input words that are replaced by the unknown word in training (Bowman et al.
        2016). The words to predict stay the same.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods import TokensLikelihood
    >>> p = TokensLikelihood(9, 5, 2, 4, 8)(torch.zeros(3, 2))
    >>> p.log_prob(torch.tensor([[1, 4, 5, 1], [1, 6, 1, 0], [1, 1, 0, 0]])).shape
    torch.Size([3])
    >>> p.mode().shape
    torch.Size([3, 7])
    """

    def __init__(
        self,
        n_tokens: int,
        max_length: int,
        n_outputs: int,
        embedding_size: int,
        hidden_size: int,
        cell: str = "lstm",
        tied: bool = True,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__(max_length + 2)
        self.n_outputs, self.max_length = n_outputs, max_length
        self.word_dropout = word_dropout
        self.network = RecurrentDecoder(
            n_tokens, n_outputs, embedding_size, hidden_size, cell, tied, dropout
        )

    def start(self, shares: Any) -> None:
        """Initialize the bias of the output layer with the log shares of the tokens.

        Parameters
        ----------
        shares : Tensor of shape (n_tokens,)
            Relative frequency of each token; 0 for tokens that do not occur.
        """
        smallest = shares[shares > 0].min() / 10
        with torch.no_grad():
            self.network.output.bias.copy_(shares.clamp_min(smallest).log())

    def forward(self, outputs: torch.Tensor) -> "Sentences":
        return Sentences(self, outputs)

    def code_weights(self) -> list[torch.nn.Parameter]:
        return self.network.code_weights()

    def log_prob(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities of sentences, including their ends.

        Parameters
        ----------
        z : Tensor of shape (n_samples, n_outputs)
            Decoder's outputs.
        x : Tensor of shape (n_samples, n_steps)
            Token numbers.

        Returns
        -------
        Tensor of shape (n_samples,)
            Log-probability of each sentence, in nats.
        """
        given = x
        if self.training and self.word_dropout:
            dropped = torch.rand(x.shape, device=x.device) < self.word_dropout
            given = x.masked_fill(dropped & (x >= N_SPECIAL), UNKNOWN)
        hidden, targets, rows = self.network(z, x, given)
        nats = _LogSoftmaxAt.apply(self.network.output(hidden), targets)
        return nats.new_zeros(len(x)).index_add(0, rows, nats)


class Sentences(Distribution):
    """Distribution over sentences given the decoder's outputs.

    Parameters
    ----------
    likelihood : TokensLikelihood
        Likelihood whose network reads and generates the sentences.
    z : Tensor of shape (n_samples, n_outputs)
        Decoder's outputs.
    """

    arg_constraints = {}

    def __init__(self, likelihood: TokensLikelihood, z: torch.Tensor) -> None:
        super().__init__(z.shape[:1], torch.Size([likelihood.n_features]), validate_args=False)
        self.likelihood, self.z = likelihood, z

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self.likelihood.log_prob(self.z, value)

    @torch.no_grad()
    def sample(
        self,
        sample_shape: Sequence[int] = (),
        temperature: float = 1.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Draw a sentence for each code, word by word.

        Parameters
        ----------
        sample_shape : tuple, default=()
            Ignored; there is one sentence for each code.
        temperature : float, default=1.0
            Divisor of the logits. A value below 1 makes probable words more probable.
        top_p : float, default=1.0
            Probability of the most probable words, taken together, from which each word is drawn
            (Holtzman et al. 2020).
        generator : torch.Generator, default=None
            Source of the noise, on the device of the codes. None means PyTorch's global one.

        Returns
        -------
        Tensor of shape (n_samples, max_length + 2)
            Token numbers.
        """
        network, z = self.likelihood.network, self.z
        temperature = max(temperature, torch.finfo(z.dtype).tiny)  # else 0, in single precision
        tokens = self._empty_sentences(len(z))
        newest, state = tokens[:, 0], network.first_state(z)
        for step in range(1, self.likelihood.max_length + 1):
            logits, state = network.step(newest, z, state)
            ended = _has_ended(newest, step)
            logits = _writable(logits)
            logits = (logits - logits.amax(-1, keepdim=True)) / temperature  # at most 0
            probabilities = nucleus(logits.softmax(-1), top_p)
            drawn = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
            newest = drawn.masked_fill(ended, PADDING)
            tokens[:, step] = newest
        return _with_final_boundary(tokens)

    @torch.no_grad()
    def mode(self, n_beams: int = 1) -> torch.Tensor:
        """Find a probable sentence for each code by beam search.

        Parameters
        ----------
        n_beams : int, default=1
            Number of partial sentences that are kept after each word. With one, each word is the
            most probable one to follow.

        Returns
        -------
        Tensor of shape (n_samples, max_length + 2)
            Token numbers of the most probable sentence found.
        """
        network, n, k = self.likelihood.network, len(self.z), n_beams
        z = self.z.repeat_interleave(k, dim=0)
        tokens = self._empty_sentences(n * k)
        newest, state = tokens[:, 0], network.first_state(z)
        # All beams of a code begin alike: only the first counts, or the search would keep k copies.
        nats = z.new_full((n, k), -torch.inf)
        nats[:, 0] = 0.0
        first_beam = torch.arange(n, device=z.device).unsqueeze(1) * k
        for step in range(1, self.likelihood.max_length + 1):
            logits, state = network.step(newest, z, state)
            log_probs = _writable(logits).log_softmax(-1)
            ended = _has_ended(newest, step)
            log_probs[ended] = -torch.inf
            log_probs[ended, PADDING] = 0.0
            total = (nats.unsqueeze(2) + log_probs.view(n, k, -1)).view(n, -1)
            nats, best = total.topk(k, dim=1)
            parent = (first_beam + best // log_probs.shape[1]).view(-1)
            newest = (best % log_probs.shape[1]).view(-1)
            tokens = tokens[parent]
            tokens[:, step] = newest
            several = isinstance(state, tuple)  # of an LSTM
            state = tuple(one[:, parent] for one in state) if several else state[:, parent]
            if bool(((newest == PADDING) | (newest == BOUNDARY)).all()):
                break
        return _with_final_boundary(tokens.view(n, k, -1)[:, 0])

    def _empty_sentences(self, n):
        """Make n rows of padding after a boundary."""
        tokens = torch.full((n, self.likelihood.max_length + 2), PADDING, device=self.z.device)
        tokens[:, 0] = BOUNDARY
        return tokens
