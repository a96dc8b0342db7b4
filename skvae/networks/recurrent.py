"""Recurrent encoders and decoders of sentences.

A sentence is a row of token numbers: `BOUNDARY`, its words, `BOUNDARY` again, and `PADDING` up to
the length of the longest row.
"""

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from skvae.networks.lstm import LSTM, pack

PADDING, BOUNDARY, UNKNOWN = range(3)
N_SPECIAL = 3  # words are numbered from here on
CELLS = {"lstm": LSTM, "gru": nn.GRU}
POOLS = ("mean", "last", "max")
WORD_STD = 0.1  # so small that logits start nearly equal if the output weights are tied


def _embedding(n_tokens, size):
    embedding = nn.Embedding(n_tokens, size)
    nn.init.normal_(embedding.weight, std=WORD_STD)
    return embedding


class RecurrentEncoder(nn.Module):
    """A network from sentences to features: the states of a recurrence, pooled over the words.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, including the special tokens.
    embedding_size, hidden_size : int
        Number of columns of a word vector and of the recurrent state.
    cell : {"lstm", "gru"}, default="lstm"
        Kind of the recurrent cell.
    pooling : {"mean", "last", "max"}, default="mean"
        How the states of a sentence become one vector: their mean, the last state, or the largest
        value of each column.
    dropout : float, default=0.0
        Share of the entries of word vectors that are set to 0 in training.

    Attributes
    ----------
    out_features : int
        Number of columns of the output.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks import RecurrentEncoder
    >>> RecurrentEncoder(9, 4, 8)(torch.tensor([[1, 3, 4, 1], [1, 5, 1, 0]])).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        n_tokens: int,
        embedding_size: int,
        hidden_size: int,
        cell: str = "lstm",
        pooling: str = "mean",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = _embedding(n_tokens, embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.recurrence = CELLS[cell](embedding_size, hidden_size)
        self.pooling = pooling
        self.out_features = hidden_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map sentences to features.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_steps)
            Token numbers.

        Returns
        -------
        Tensor of shape (n_samples, out_features)
            Features, which do not depend on the padding.
        """
        words = x[:, 1:]  # the first boundary is the same in every row
        lengths = (words != PADDING).sum(1)
        packed, rows = pack(words, lengths)
        vectors = self.dropout(self.embedding(packed.data))
        states, last = self.recurrence(packed._replace(data=vectors))
        if self.pooling == "last":
            return (last[0] if isinstance(last, tuple) else last)[0]
        pooled = states.data.new_zeros(len(x), self.out_features)
        if self.pooling == "mean":
            return pooled.index_add(0, rows, states.data) / lengths.unsqueeze(1)
        rows = rows.unsqueeze(1).expand_as(states.data)
        return pooled.scatter_reduce(0, rows, states.data, "amax", include_self=False)


class RecurrentDecoder(nn.Module):
    """A network that predicts each token of a sentence from the code and the tokens before it.

    The code enters in three places, through a linear map each: it determines the first state, and
    it is added to every input of the recurrence and of the output layer. The maps are computed
    once per sentence.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, including the special tokens.
    n_components : int
        Number of columns of the code.
    embedding_size, hidden_size : int
        Number of columns of a word vector and of the recurrent state.
    cell : {"lstm", "gru"}, default="lstm"
        Kind of the recurrent cell.
    tied : bool, default=True
        Whether the output layer uses the word vectors as its weights (Press & Wolf 2017), after a
        linear map from the state to their size.
    dropout : float, default=0.0
        Share of the entries of word vectors and of the output layer's input that are set to 0 in
        training.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks import RecurrentDecoder
    >>> decoder = RecurrentDecoder(9, 2, 4, 8)
    >>> x = torch.tensor([[1, 3, 4, 1], [1, 5, 1, 0]])
    >>> hidden, targets, rows = decoder(torch.zeros(2, 2), x)
    >>> targets.tolist(), rows.tolist()
    ([3, 5, 4, 1, 1], [0, 1, 0, 1, 0])
    """

    def __init__(
        self,
        n_tokens: int,
        n_components: int,
        embedding_size: int,
        hidden_size: int,
        cell: str = "lstm",
        tied: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = _embedding(n_tokens, embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.recurrence = CELLS[cell](embedding_size, hidden_size)
        self.n_states = 2 if cell == "lstm" else 1
        width = embedding_size if tied else hidden_size
        self.narrow = nn.Linear(hidden_size, width) if tied else nn.Identity()
        self.output = nn.Linear(width, n_tokens)
        if tied:
            self.output.weight = self.embedding.weight
        self.to_state = nn.Linear(n_components, self.n_states * hidden_size)
        self.to_input = nn.Linear(n_components, embedding_size, bias=False)
        self.to_output = nn.Linear(n_components, width, bias=False)
        # The code is noise at first. What it adds starts no larger than a word vector: otherwise it
        # hides the words, and the decoder loses more by that than the code can give.
        for layer in (self.to_state, self.to_input, self.to_output):
            nn.init.normal_(layer.weight, std=WORD_STD / n_components**0.5)

    def forward(
        self, z: torch.Tensor, x: torch.Tensor, given: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read sentences and return the output layer's input at each token.

        Parameters
        ----------
        z : Tensor of shape (n_samples, n_components)
            Codes.
        x : Tensor of shape (n_samples, n_steps)
            Token numbers.
        given : Tensor of shape (n_samples, n_steps), optional
            Token numbers that are read in place of `x`; the targets remain those of `x`.

        Returns
        -------
        hidden : Tensor of shape (n_tokens, width)
            Input of the output layer for each token but the first of each row.
        targets : Tensor of shape (n_tokens,)
            Numbers of these tokens.
        rows : Tensor of shape (n_tokens,)
            Row of each of these tokens.
        """
        given = x if given is None else given
        pairs = torch.stack([given[:, :-1], x[:, 1:]], dim=-1)
        packed, rows = pack(pairs, (x[:, 1:] != PADDING).sum(1))
        tokens, targets = packed.data.unbind(-1)
        vectors = self.dropout(self.embedding(tokens)) + self.to_input(z)[rows]
        states, _ = self.recurrence(packed._replace(data=vectors), self.first_state(z))
        return self._hidden(states.data, self.to_output(z)[rows]), targets, rows

    def code_weights(self) -> list[nn.Parameter]:
        """Return the weights that multiply the code.

        Returns
        -------
        list of Parameter
            Weight matrices of the three maps of the code.
        """
        return [layer.weight for layer in (self.to_state, self.to_input, self.to_output)]

    def first_state(self, z: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the state before the first token.

        Parameters
        ----------
        z : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor or tuple of Tensor of shape (1, n_samples, hidden_size)
            Initial state of the recurrence; for an LSTM, hidden and cell state.
        """
        states = self.to_state(z).tanh().unsqueeze(0).chunk(self.n_states, dim=-1)
        return states if self.n_states > 1 else states[0].contiguous()

    def step(
        self, tokens: torch.Tensor, z: torch.Tensor, state: torch.Tensor | tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor | tuple[torch.Tensor, ...]]:
        """Read one token of each sentence.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples,)
            Numbers of the newest tokens.
        z : Tensor of shape (n_samples, n_components)
            Codes.
        state : Tensor or tuple of Tensor
            State from `first_state` or from the previous step.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_tokens)
            Logits of the next token.
        state : Tensor or tuple of Tensor
            State for the next step.
        """
        vectors = self.embedding(tokens) + self.to_input(z)
        one_step = PackedSequence(vectors, torch.tensor([len(vectors)]))
        states, state = self.recurrence(one_step, state)
        return self.output(self._hidden(states.data, self.to_output(z))), state

    def _hidden(self, states, code):
        """Return the input of the output layer."""
        return self.dropout(self.narrow(states) + code)
