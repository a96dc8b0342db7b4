"""Recurrent networks over sentences: tokens to features, and a code to tokens. No probability.

A sentence is a row of token numbers: `BOUNDARY`, its words, `BOUNDARY` again, and `PADDING` up to
the length of the longest row. Padding is cut out before anything is computed (`pack`), so that
every product has as many rows as there are tokens.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

PADDING, BOUNDARY, UNKNOWN = range(3)
N_SPECIAL = 3  # the words of a vocabulary are numbered from here


def pack(values, lengths):
    """Cut the padding out of sequences of different lengths.

    Parameters
    ----------
    values : Tensor of shape (n_samples, n_steps, ...)
        Padded on the right.
    lengths : Tensor of shape (n_samples,)
        Steps of each row, at least 1.

    Returns
    -------
    packed : PackedSequence
        The first steps of all rows, the longest row first, then their second steps and so on.
    rows : Tensor of shape (n_tokens,)
        The row that each value comes from.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks.recurrent import pack
    >>> packed, rows = pack(torch.tensor([[5, 0], [6, 7]]), torch.tensor([1, 2]))
    >>> packed.data.tolist(), rows.tolist()
    ([6, 5, 7], [1, 0, 1])
    """
    packed = pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
    rows = torch.cat([packed.sorted_indices[:size] for size in packed.batch_sizes.tolist()])
    return packed, rows


class _Steps(torch.autograd.Function):
    """The steps of an LSTM over packed sequences.

    One step has one product forward and one backward; the gradient of the weight is a single
    product at the end, and what the backward pass multiplies with is prepared for all steps at
    once. The gates of a row are those of PyTorch: input, forget, cell, output.
    """

    @staticmethod
    def forward(ctx, inputs, weight, h, c, sizes):
        hidden = weight.shape[1]
        gates = torch.empty_like(inputs)
        states, cells, squashed = (inputs.new_empty(len(inputs), hidden) for _ in range(3))
        ctx.first, ctx.sizes = (h, c), sizes
        steps = (whole.split(sizes) for whole in (inputs, gates, cells, squashed, states))
        for given, gate, cell, squash, state in zip(*steps, strict=True):
            n = len(given)
            torch.addmm(given, h[:n], weight.t(), out=gate)
            gate[:, : 2 * hidden].sigmoid_()
            gate[:, 2 * hidden : 3 * hidden].tanh_()
            gate[:, 3 * hidden :].sigmoid_()
            i, f, g, o = gate.chunk(4, dim=1)
            torch.mul(f, c[:n], out=cell).addcmul_(i, g)
            torch.mul(o, torch.tanh(cell, out=squash), out=state)
            h, c = state, cell
        ctx.save_for_backward(weight, *ctx.first, gates, states, cells, squashed)
        ctx.set_materialize_grads(False)  # nobody may ask for the cells, or for the states
        return states, cells

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):
        weight, h, c, gates, states, cells, squashed = ctx.saved_tensors
        sizes, hidden = ctx.sizes, weight.shape[1]
        i, f, g, o = gates.chunk(4, dim=1)
        slopes = torch.empty_like(gates)  # of the pre-activations, by cell or (the last) state
        slope_i, slope_f, slope_g, slope_o = slopes.chunk(4, dim=1)
        torch.mul(i, 1 - i, out=slope_i).mul_(g)
        torch.mul(f, 1 - f, out=slope_f).mul_(_one_step_before(c, cells, sizes))
        torch.addcmul(i, i, g.square(), value=-1, out=slope_g)
        torch.mul(o, 1 - o, out=slope_o).mul_(squashed)
        to_cell = torch.addcmul(o, o, squashed.square(), value=-1)  # of the state by the cell
        grad_gates = torch.empty_like(gates)
        grad_h, grad_c = torch.zeros_like(h), torch.zeros_like(c)
        from_states, from_cells = (
            [0.0] * len(sizes) if grad is None else grad.split(sizes) for grad in grads
        )
        steps = (whole.split(sizes) for whole in (slopes, to_cell, f, grad_gates))
        steps = list(zip(from_states, from_cells, *steps, strict=True))
        for from_state, from_cell, slope, through, forget, grad in reversed(steps):
            dh, dc = grad_h[: len(grad)], grad_c[: len(grad)]
            dh += from_state
            dc += from_cell
            dc.addcmul_(dh, through)
            slope, out = slope.unflatten(1, (4, hidden)), grad.unflatten(1, (4, hidden))
            torch.mul(slope[:, :3], dc.unsqueeze(1), out=out[:, :3])
            torch.mul(slope[:, 3], dh, out=out[:, 3])
            dc *= forget
            torch.mm(grad, weight, out=dh)
        grad_weight = grad_gates.t() @ _one_step_before(h, states, sizes)
        return grad_gates, grad_weight, grad_h, grad_c, None


def _one_step_before(first, packed, sizes):
    """What stood where each packed value stands, a step earlier; `first` before the first step."""
    earlier = packed.split(sizes)[:-1]
    blocks = [block[:n] for block, n in zip(earlier, sizes[1:], strict=True)]
    return torch.cat([first[: sizes[0]], *blocks])


class LSTM(nn.LSTM):
    """PyTorch's LSTM of a single layer over packed sequences, in fewer passes.

    Parameters
    ----------
    input_size, hidden_size : int
        Columns of the input and of the state.
    """

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)

    def forward(self, sequence, state=None):
        """Run over packed sequences, as `torch.nn.LSTM` does.

        Parameters
        ----------
        sequence : PackedSequence
            The input.
        state : tuple of Tensor of shape (1, n_samples, hidden_size), optional
            Hidden and cell state to begin with, in the order of the rows; zeros by default.

        Returns
        -------
        states : PackedSequence
            Hidden states after every step.
        last : tuple of Tensor of shape (1, n_samples, hidden_size)
            Hidden and cell state of each row after its last step.
        """
        data, batch_sizes, order, back = sequence
        sizes = batch_sizes.tolist()
        if state is None:
            h = c = data.new_zeros(sizes[0], self.hidden_size)
        else:
            h, c = (part[0] if order is None else part[0, order] for part in state)
        inputs = torch.addmm(self.bias_ih_l0 + self.bias_hh_l0, data, self.weight_ih_l0.t())
        states, cells = _Steps.apply(inputs, self.weight_hh_l0, h, c, sizes)
        last = (_at_the_end(whole, sizes, back)[None] for whole in (states, cells))
        return PackedSequence(states, batch_sizes, order, back), tuple(last)


def _at_the_end(packed, sizes, back):
    """The last value of each row."""
    following = [*sizes[1:], 0]  # rows that go on after each step; the shorter ones come last
    ends = [block[n:] for block, n in zip(packed.split(sizes), following, strict=True)]
    ends = torch.cat(ends[::-1])
    return ends if back is None else ends[back]


CELLS = {"lstm": LSTM, "gru": nn.GRU}
POOLS = ("mean", "last", "max")


WORD_STD = 0.1  # so small that tied output weights start with near equal logits


def _embedding(n_tokens, size):
    embedding = nn.Embedding(n_tokens, size)
    nn.init.normal_(embedding.weight, std=WORD_STD)
    return embedding


class RecurrentEncoder(nn.Module):
    """From sentences to features: the states of a recurrence, pooled over the words.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, the special tokens included.
    embedding_size, hidden_size : int
        Columns of a word's vector and of the state.
    cell : {"lstm", "gru"}, default="lstm"
        The recurrence.
    pooling : {"mean", "last", "max"}, default="mean"
        What becomes of the states of a sentence.
    dropout : float, default=0.0
        Share of the entries of word vectors that training sets to 0.

    Attributes
    ----------
    out_features : int
        Columns of the output.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks.recurrent import RecurrentEncoder
    >>> RecurrentEncoder(9, 4, 8)(torch.tensor([[1, 3, 4, 1], [1, 5, 1, 0]])).shape
    torch.Size([2, 8])
    """

    def __init__(
        self, n_tokens, embedding_size, hidden_size, cell="lstm", pooling="mean", dropout=0.0
    ):
        super().__init__()
        self.embedding = _embedding(n_tokens, embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.recurrence = CELLS[cell](embedding_size, hidden_size)
        self.pooling = pooling
        self.out_features = hidden_size

    def forward(self, x):
        """Map sentences to features.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_steps)
            Token numbers.

        Returns
        -------
        Tensor of shape (n_samples, out_features)
            The same for a row whatever its padding.
        """
        words = x[:, 1:]  # a boundary that every row begins with says nothing
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
    """From codes to the logits of each next token, given the tokens before it.

    The code sets the first state, is added to every input and to what the output layer sees;
    each time through a linear map of its own, computed once for each sentence.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary, the special tokens included.
    n_components : int
        Columns of the code.
    embedding_size, hidden_size : int
        Columns of a word's vector and of the state.
    cell : {"lstm", "gru"}, default="lstm"
        The recurrence.
    tied : bool, default=True
        Whether the output layer uses the word vectors as its weights (Press & Wolf 2017), after a
        linear map from the state to their size.
    dropout : float, default=0.0
        Share of the entries of word vectors and of what the output layer sees that training
        sets to 0.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks.recurrent import RecurrentDecoder
    >>> decoder = RecurrentDecoder(9, 2, 4, 8)
    >>> x = torch.tensor([[1, 3, 4, 1], [1, 5, 1, 0]])
    >>> states, wanted, rows = decoder(torch.zeros(2, 2), x)
    >>> wanted.tolist(), rows.tolist()
    ([3, 5, 4, 1, 1], [0, 1, 0, 1, 0])
    """

    def __init__(
        self,
        n_tokens,
        n_components,
        embedding_size,
        hidden_size,
        cell="lstm",
        tied=True,
        dropout=0.0,
    ):
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
        # The code, noise at first, starts no louder than a word: one that drowns the words costs
        # the decoder more than it can win back.
        for way in (self.to_state, self.to_input, self.to_output):
            nn.init.normal_(way.weight, std=WORD_STD / n_components**0.5)

    def forward(self, z, x, given=None):
        """Read sentences up to each token and say what the output layer sees then.

        Parameters
        ----------
        z : Tensor of shape (n_samples, n_components)
            Codes.
        x : Tensor of shape (n_samples, n_steps)
            Token numbers.
        given : Tensor of shape (n_samples, n_steps), optional
            What is read in their stead.

        Returns
        -------
        seen : Tensor of shape (n_tokens, width)
            Input of the output layer for each token but the first of each row.
        wanted : Tensor of shape (n_tokens,)
            Those tokens.
        rows : Tensor of shape (n_tokens,)
            Their rows.
        """
        given = x if given is None else given
        pairs = torch.stack([given[:, :-1], x[:, 1:]], dim=-1)
        packed, rows = pack(pairs, (x[:, 1:] != PADDING).sum(1))
        tokens, wanted = packed.data.unbind(-1)
        vectors = self.dropout(self.embedding(tokens)) + self.to_input(z)[rows]
        states, _ = self.recurrence(packed._replace(data=vectors), self.first_state(z))
        return self._seen(states.data, self.to_output(z)[rows]), wanted, rows

    def code_weights(self):
        """Say which weights multiply the code.

        Returns
        -------
        list of Parameter
            A matrix for each of its three ways.
        """
        return [way.weight for way in (self.to_state, self.to_input, self.to_output)]

    def first_state(self, z):
        """State before the first token.

        Parameters
        ----------
        z : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        Tensor or tuple of Tensor of shape (1, n_samples, hidden_size)
            As the recurrence takes it.
        """
        parts = self.to_state(z).tanh().unsqueeze(0).chunk(self.n_states, dim=-1)
        return parts if self.n_states > 1 else parts[0].contiguous()

    def step(self, tokens, z, state):
        """Read one token of each sentence.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples,)
            The newest tokens.
        z : Tensor of shape (n_samples, n_components)
            Codes.
        state : Tensor or tuple of Tensor
            From `first_state` or the last step.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_tokens)
            Of the next token.
        state : Tensor or tuple of Tensor
            For the next step.
        """
        vectors = self.embedding(tokens) + self.to_input(z)
        one_step = PackedSequence(vectors, torch.tensor([len(vectors)]))
        states, state = self.recurrence(one_step, state)
        return self.output(self._seen(states.data, self.to_output(z))), state

    def _seen(self, states, code):
        return self.dropout(self.narrow(states) + code)
