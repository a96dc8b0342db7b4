"""p(x|z) over sentences: each token given the code and the tokens before it."""

import torch
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution

from skvae.likelihoods.base import Likelihood
from skvae.networks.recurrent import BOUNDARY, N_SPECIAL, PADDING, UNKNOWN, RecurrentDecoder


class TokensLikelihood(Likelihood):
    """A sentence token by token, ``log p(x|z) = sum_t log p(x_t | x_<t, z)``.

    The network that reads the tokens before is part of the likelihood; the code's way to it is
    what the VAE calls its decoder.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, the special tokens included.
    max_length : int
        Words of the longest sentence that is written.
    n_outputs : int
        Columns of what the decoder makes of the code.
    embedding_size, hidden_size : int
        Columns of a word's vector and of the state.
    cell : {"lstm", "gru"}, default="lstm"
        The recurrence.
    tied : bool, default=True
        Whether the output layer uses the word vectors as its weights.
    dropout : float, default=0.0
        As in `skvae.networks.recurrent.RecurrentDecoder`.
    word_dropout : float, default=0.0
        Share of the words read that training replaces by the unknown word (Bowman et al. 2016).
        All words are predicted still.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods.sentences import TokensLikelihood
    >>> p = TokensLikelihood(9, 5, 2, 4, 8)(torch.zeros(3, 2))
    >>> p.log_prob(torch.tensor([[1, 4, 5, 1], [1, 6, 1, 0], [1, 1, 0, 0]])).shape
    torch.Size([3])
    >>> p.mode().shape
    torch.Size([3, 7])
    """

    def __init__(
        self,
        n_tokens,
        max_length,
        n_outputs,
        embedding_size,
        hidden_size,
        cell="lstm",
        tied=True,
        dropout=0.0,
        word_dropout=0.0,
    ):
        super().__init__(max_length + 2)
        self.n_outputs, self.max_length = n_outputs, max_length
        self.word_dropout = word_dropout
        self.network = RecurrentDecoder(
            n_tokens, n_outputs, embedding_size, hidden_size, cell, tied, dropout
        )

    def start(self, shares):
        """Set the output layer's bias to the logs of the tokens' shares.

        Parameters
        ----------
        shares : Tensor of shape (n_tokens,)
            How often each token occurs; 0 for tokens that have not been seen.
        """
        smallest = shares[shares > 0].min() / 10
        with torch.no_grad():
            self.network.output.bias.copy_(shares.clamp_min(smallest).log())

    def forward(self, outputs):
        return Sentences(self, outputs)

    def code_weights(self):
        return self.network.code_weights()

    def log_prob(self, z, x):
        """Log-probabilities of sentences, their ends included.

        Parameters
        ----------
        z : Tensor of shape (n_samples, n_outputs)
            What the decoder makes of the codes.
        x : Tensor of shape (n_samples, n_steps)
            Token numbers.

        Returns
        -------
        Tensor of shape (n_samples,)
            In nats.
        """
        given = x
        if self.training and self.word_dropout:
            dropped = torch.rand(x.shape, device=x.device) < self.word_dropout
            given = x.masked_fill(dropped & (x >= N_SPECIAL), UNKNOWN)
        seen, wanted, rows = self.network(z, x, given)
        nats = _LogSoftmaxAt.apply(self.network.output(seen), wanted)
        return nats.new_zeros(len(x)).index_add(0, rows, nats)


class _LogSoftmaxAt(torch.autograd.Function):
    """Log-softmax at one wanted output of each row.

    The logits of all tokens are the largest array of a step. The probabilities overwrite them, and
    one pass over these makes the gradient.
    """

    @staticmethod
    def forward(ctx, logits, wanted):
        at_wanted = logits.gather(1, wanted.unsqueeze(1))
        largest, where = logits.max(dim=1, keepdim=True)
        probabilities = torch.softmax(logits, dim=1, out=logits)
        ctx.save_for_backward(probabilities, wanted)
        # Off the largest probability, which is at least 1 / n_tokens, whatever the others are.
        log_sum = largest - probabilities.gather(1, where).log()
        return (at_wanted - log_sum).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        probabilities, wanted = ctx.saved_tensors
        grad = grad.unsqueeze(1)
        return (probabilities * -grad).scatter_add_(1, wanted.unsqueeze(1), grad), None


class Sentences(Distribution):
    """Sentences given what the decoder makes of their codes.

    Parameters
    ----------
    likelihood : TokensLikelihood
        The network that reads and writes.
    z : Tensor of shape (n_samples, n_outputs)
        What the decoder makes of the codes.
    """

    arg_constraints = {}

    def __init__(self, likelihood, z):
        super().__init__(z.shape[:1], torch.Size([likelihood.n_features]), validate_args=False)
        self.likelihood, self.z = likelihood, z

    def log_prob(self, value):
        """Log-probabilities of sentences.

        Parameters
        ----------
        value : Tensor of shape (n_samples, n_steps)
            Token numbers.

        Returns
        -------
        Tensor of shape (n_samples,)
            In nats.
        """
        return self.likelihood.log_prob(self.z, value)

    @torch.no_grad()
    def sample(self, sample_shape=(), temperature=1.0, top_p=1.0, generator=None):
        """Write a sentence for each code, word by word at random.

        Parameters
        ----------
        sample_shape : tuple, default=()
            Only one sentence a code is written.
        temperature : float, default=1.0
            The logits are divided by it: below 1 makes likely words likelier.
        top_p : float, default=1.0
            Only the likeliest words are drawn that together have this probability (Holtzman et
            al. 2020).
        generator : torch.Generator, default=None
            Source of the noise, on the device of the codes; None is the process's.

        Returns
        -------
        Tensor of shape (n_samples, max_length + 2)
            Token numbers.
        """

        def draw(logits):
            probabilities = nucleus((logits / temperature).softmax(-1), top_p)
            return torch.multinomial(probabilities, 1, generator=generator)[:, 0]

        network, z = self.likelihood.network, self.z
        words = self._blank(len(z))
        newest, state = words[:, 0], network.first_state(z)
        for step in range(1, self.likelihood.max_length + 1):
            logits, state = network.step(newest, z, state)
            ended = (newest == PADDING) | ((newest == BOUNDARY) & (step > 1))
            newest = draw(_speakable(logits)).masked_fill(ended, PADDING)
            words[:, step] = newest
        return _closed(words)

    @torch.no_grad()
    def mode(self, n_beams=1):
        """Write the likeliest sentence that a beam search finds for each code.

        Parameters
        ----------
        n_beams : int, default=1
            Beginnings of sentences that are kept after each word; with one, each word is the
            likeliest to follow.

        Returns
        -------
        Tensor of shape (n_samples, max_length + 2)
            Token numbers.
        """
        network, n, k = self.likelihood.network, len(self.z), n_beams
        z = self.z.repeat_interleave(k, dim=0)
        words = self._blank(n * k)
        newest, state = words[:, 0], network.first_state(z)
        # Beams of a code are the same at the start: all but one are put out of the race.
        nats = z.new_full((n, k), -torch.inf)
        nats[:, 0] = 0.0
        first = torch.arange(n, device=z.device).unsqueeze(1) * k
        for step in range(1, self.likelihood.max_length + 1):
            logits, state = network.step(newest, z, state)
            following = _speakable(logits).log_softmax(-1)
            ended = (newest == PADDING) | ((newest == BOUNDARY) & (step > 1))
            following[ended] = -torch.inf
            following[ended, PADDING] = 0.0
            total = (nats.unsqueeze(2) + following.view(n, k, -1)).view(n, -1)
            nats, best = total.topk(k, dim=1)
            parent = (first + best // following.shape[1]).view(-1)
            newest = (best % following.shape[1]).view(-1)
            words = words[parent]
            words[:, step] = newest
            state = _select(state, parent)
            if bool(((newest == PADDING) | (newest == BOUNDARY)).all()):
                break
        return _closed(words.view(n, k, -1)[:, 0])

    def _blank(self, n):
        words = torch.full((n, self.likelihood.max_length + 2), PADDING, device=self.z.device)
        words[:, 0] = BOUNDARY
        return words


def nucleus(probabilities, top_p):
    """Set to 0 all but the largest probabilities that together reach `top_p`.

    Parameters
    ----------
    probabilities : Tensor of shape (n_samples, n_tokens)
        Each row sums to 1.
    top_p : float
        In (0, 1].

    Returns
    -------
    Tensor of shape (n_samples, n_tokens)
        What is left, not summing to 1.

    Examples
    --------
    >>> import torch
    >>> from skvae.likelihoods.sentences import nucleus
    >>> nucleus(torch.tensor([[0.5, 0.125, 0.375]]), 0.75).tolist()
    [[0.5, 0.0, 0.375]]
    """
    if top_p >= 1.0:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    enough = ordered.cumsum(-1) - ordered >= top_p  # reached before this one
    return torch.zeros_like(ordered).scatter(-1, order, ordered.masked_fill(enough, 0.0))


def _speakable(logits):
    """Without the tokens that are not to be written."""
    logits = logits.clone()
    logits[:, [PADDING, UNKNOWN]] = -torch.inf
    return logits


def _closed(words):
    """Sentences with a boundary after the last word, cut there or not."""
    ends = (words != PADDING).sum(1)
    ended = words.gather(1, (ends - 1).unsqueeze(1)).squeeze(1) == BOUNDARY
    unfinished = ~(ended & (ends > 1))
    words[unfinished, ends[unfinished]] = BOUNDARY
    return words


def _select(state, rows):
    if isinstance(state, tuple):
        return tuple(part[:, rows] for part in state)
    return state[:, rows]
