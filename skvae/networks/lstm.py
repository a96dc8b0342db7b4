"""An LSTM over sequences of different lengths, with fewer passes over memory than PyTorch's.

Padding is cut out before anything is computed (`pack`), so that each matrix product has as many
rows as there are tokens.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


def pack(values: torch.Tensor, lengths: torch.Tensor) -> tuple[PackedSequence, torch.Tensor]:
    """Cut the padding out of sequences of different lengths.

    Parameters
    ----------
    values : Tensor of shape (n_samples, n_steps, ...)
        Sequences, padded on the right.
    lengths : Tensor of shape (n_samples,)
        Number of steps of each row, at least 1.

    Returns
    -------
    packed : PackedSequence
        Values at the first step of all rows, the longest row first, then those at the second step
        and so on.
    rows : Tensor of shape (n_tokens,)
        Row that each packed value comes from.

    Examples
    --------
    >>> import torch
    >>> from skvae.networks import pack
    >>> packed, rows = pack(torch.tensor([[5, 0], [6, 7]]), torch.tensor([1, 2]))
    >>> packed.data.tolist(), rows.tolist()
    ([6, 5, 7], [1, 0, 1])
    """
    packed = pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
    rows = torch.cat([packed.sorted_indices[:size] for size in packed.batch_sizes.tolist()])
    return packed, rows


def _one_step_earlier(first, packed, sizes):
    """Return each row's value one step before each packed value; `first` before the first step."""
    earlier = packed.split(sizes)[:-1]
    blocks = [block[:n] for block, n in zip(earlier, sizes[1:], strict=True)]
    return torch.cat([first[: sizes[0]], *blocks])


def _last_of_each_row(packed, sizes, unsorted_indices):
    """Return the last value of each row, in the order of the rows."""
    # Rows are sorted by length, so those that end at a step are the last ones of its block.
    n_continuing = [*sizes[1:], 0]
    ends = [block[n:] for block, n in zip(packed.split(sizes), n_continuing, strict=True)]
    ends = torch.cat(ends[::-1])
    return ends if unsorted_indices is None else ends[unsorted_indices]


class _Steps(torch.autograd.Function):
    """The steps of an LSTM over packed sequences.

    Each step takes one matrix product forward and one backward. The gradient of the weight is a
    single product at the end, and the derivatives that the backward pass multiplies are computed
    for all steps at once. The gates are in the order of PyTorch: input, forget, cell, output.
    """

    @staticmethod
    def forward(ctx, inputs, weight, h, c, sizes):
        hidden = weight.shape[1]
        gates = torch.empty_like(inputs)
        states, cells, tanh_cells = (inputs.new_empty(len(inputs), hidden) for _ in range(3))
        ctx.first, ctx.sizes = (h, c), sizes
        steps = (packed.split(sizes) for packed in (inputs, gates, cells, tanh_cells, states))
        for step_input, gate, cell, tanh_cell, state in zip(*steps, strict=True):
            n = len(step_input)
            torch.addmm(step_input, h[:n], weight.t(), out=gate)
            gate[:, : 2 * hidden].sigmoid_()
            gate[:, 2 * hidden : 3 * hidden].tanh_()
            gate[:, 3 * hidden :].sigmoid_()
            i, f, g, o = gate.chunk(4, dim=1)
            torch.mul(f, c[:n], out=cell).addcmul_(i, g)
            torch.mul(o, torch.tanh(cell, out=tanh_cell), out=state)
            h, c = state, cell
        ctx.save_for_backward(weight, *ctx.first, gates, states, cells, tanh_cells)
        ctx.set_materialize_grads(False)  # cells or states may have no gradient
        return states, cells

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):
        weight, h, c, gates, states, cells, tanh_cells = ctx.saved_tensors
        sizes, hidden = ctx.sizes, weight.shape[1]
        i, f, g, o = gates.chunk(4, dim=1)
        # Derivatives by the pre-activations: of the cell by i, f and g, of the state by o.
        slopes = torch.empty_like(gates)
        slope_i, slope_f, slope_g, slope_o = slopes.chunk(4, dim=1)
        torch.mul(i, 1 - i, out=slope_i).mul_(g)
        torch.mul(f, 1 - f, out=slope_f).mul_(_one_step_earlier(c, cells, sizes))
        torch.addcmul(i, i, g.square(), value=-1, out=slope_g)
        torch.mul(o, 1 - o, out=slope_o).mul_(tanh_cells)
        state_by_cell = torch.addcmul(o, o, tanh_cells.square(), value=-1)
        grad_gates = torch.empty_like(gates)
        grad_h, grad_c = torch.zeros_like(h), torch.zeros_like(c)
        from_states, from_cells = (
            [0.0] * len(sizes) if grad is None else grad.split(sizes) for grad in grads
        )
        steps = (packed.split(sizes) for packed in (slopes, state_by_cell, f, grad_gates))
        steps = list(zip(from_states, from_cells, *steps, strict=True))
        for from_state, from_cell, slope, by_cell, forget, grad in reversed(steps):
            dh, dc = grad_h[: len(grad)], grad_c[: len(grad)]
            dh += from_state
            dc += from_cell
            dc.addcmul_(dh, by_cell)
            slope, out = slope.unflatten(1, (4, hidden)), grad.unflatten(1, (4, hidden))
            torch.mul(slope[:, :3], dc.unsqueeze(1), out=out[:, :3])
            torch.mul(slope[:, 3], dh, out=out[:, 3])
            dc *= forget
            torch.mm(grad, weight, out=dh)
        grad_weight = grad_gates.t() @ _one_step_earlier(h, states, sizes)
        return grad_gates, grad_weight, grad_h, grad_c, None


class LSTM(nn.LSTM):
    """PyTorch's LSTM with a single layer, for packed sequences only.

    Parameters
    ----------
    input_size, hidden_size : int
        Number of columns of the input and of the state.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)

    def forward(
        self, sequence: PackedSequence, state: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[PackedSequence, tuple[torch.Tensor, ...]]:
        """Run over packed sequences, as `torch.nn.LSTM` does.

        Parameters
        ----------
        sequence : PackedSequence
            Input at every step.
        state : tuple of Tensor of shape (1, n_samples, hidden_size), optional
            Initial hidden and cell state, in the order of the rows; zeros by default.

        Returns
        -------
        states : PackedSequence
            Hidden states after every step.
        last : tuple of Tensor of shape (1, n_samples, hidden_size)
            Hidden and cell state of each row after its last step.
        """
        data, batch_sizes, order, unsorted_indices = sequence
        sizes = batch_sizes.tolist()
        if state is None:
            h = c = data.new_zeros(sizes[0], self.hidden_size)
        else:
            h, c = (tensor[0] if order is None else tensor[0, order] for tensor in state)
        inputs = torch.addmm(self.bias_ih_l0 + self.bias_hh_l0, data, self.weight_ih_l0.t())
        states, cells = _Steps.apply(inputs, self.weight_hh_l0, h, c, sizes)
        last = (
            _last_of_each_row(packed, sizes, unsorted_indices)[None] for packed in (states, cells)
        )
        return PackedSequence(states, batch_sizes, order, unsorted_indices), tuple(last)
