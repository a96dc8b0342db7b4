"""The state of PyTorch around a call: kept out of the call, and restored after it.

That is the gradient mode, autocast, default type and device, the random generators and the number
of threads. All of them belong to the process or the thread, and none may change a result.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from math import prod

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from skvae._torch import TorchDispatchMode

# Held briefly, and never while foreign code is called. It is reentrant, because a signal handler or
# a garbage collection can run such code all the same, in the thread that holds the lock.
_lock = threading.RLock()
_dtype = {"users": 0}
AUTOCASTING = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def plain_torch() -> Iterator[None]:
    """Give the block the settings that PyTorch has when a process begins; restore them after it.

    Gradients are on, inference mode and autocast are off, the default precision is single and the
    default device the CPU. So neither a ``torch.no_grad()`` around a call nor a
    ``torch.set_default_dtype`` before it changes what the call does. Every public method that
    computes is decorated with it.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in AUTOCASTING:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # it slows every call to PyTorch
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_single_precision())
        yield


@contextmanager
def _single_precision():
    # The default belongs to the whole process. When several threads are in calls at once, the
    # first to enter notes what it found and the last to leave restores it.
    with _lock:
        if not _dtype["users"]:
            _dtype["found"] = torch.get_default_dtype()
        _dtype["users"] += 1
        torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        with _lock:
            _dtype["users"] -= 1
            if not _dtype["users"]:
                torch.set_default_dtype(_dtype["found"])


class SeededDraws(TorchDispatchMode):
    """A context in which all random numbers of PyTorch come from generators of its own.

    It holds for the thread that enters it and leaves the process's generators alone, so that
    several threads can draw at once and each gets the numbers of its seed. It also reaches calls
    that take no generator, such as the weights of a new layer or a sample of
    `torch.distributions`, at a cost of some microseconds for each call to PyTorch.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed, self._generators = seed, {}

    def generator(self, device):
        """Return the generator of a device, the same object for each call."""
        device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0", for example
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # otherwise PyTorch imports its compiler, for 2 s, only to bypass this class

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        drawing = _taking_a_generator(func)
        if drawing is None:
            return func(*args, **(kwargs or {}))
        given = dict(zip(_arguments(func), args, strict=False)) | (kwargs or {})
        if given.get("generator") is None:
            tensors = (value for value in given.values() if isinstance(value, torch.Tensor))
            device = next((tensor.device for tensor in tensors), given.get("device"))
            given["generator"] = self.generator(device or "cpu")
        return drawing(**given)


@cache
def _taking_a_generator(func):
    """Return the variant of an operation that takes a generator; None if there is none."""
    wanted = {*_arguments(func), "generator"}
    packet = func.overloadpacket
    variants = (getattr(packet, name) for name in packet.overloads())
    return next((op for op in (func, *variants) if {*_arguments(op)} == wanted), None)


def _arguments(operation):
    return [argument.name for argument in operation._schema.arguments]


# Generators and threads belong to the whole process. When several threads fit at once, the
# first to enter notes what it found and the last to leave restores it.
_found = {"users": 0, "states": {}}

MULTIPLICATIONS_PER_THREAD = 1e9


@contextmanager
def restored_process(n_multiplications, device, seed=None):
    """Let the block seed generators and use few threads; restore both after it.

    The multiplications of one step decide the number of threads: below about 1e9 a second thread
    gains little on an idle machine, and costs many times the step on a busy one. The generators are
    those of the CPU and of the device, which layers use that take none of their own, like dropout.
    """
    with _lock:
        if not _found["users"]:
            _found["threads"] = torch.get_num_threads()
        for generator in _generators(device):
            _found["states"].setdefault(generator, generator.get_state())
            if seed is not None:
                generator.manual_seed(seed)
        _found["users"] += 1
    threads = torch.get_num_threads()
    wanted = round(n_multiplications / MULTIPLICATIONS_PER_THREAD)
    torch.set_num_threads(max(1, min(threads, wanted)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        with _lock:
            _found["users"] -= 1
            if not _found["users"]:
                torch.set_num_threads(_found["threads"])
                for generator, state in _found["states"].items():
                    generator.set_state(state)
                _found["states"].clear()


@torch.no_grad()
def multiplications_per_row(model, batches):
    """Count the mean number of multiplications by weights for one row, from x to ``log p(x|z)``.

    A weight of a convolution counts once for every position, and one of a recurrence once for every
    token. All rows of the batches pass through the model once, in evaluation mode.
    """
    weights = {layer: _n_weights(layer) for layer in model.modules()}
    uses, n_rows, was_training = Counter(), 0, model.training

    def count(layer, inputs, output):
        if inputs and isinstance(inputs[0], torch.Tensor | PackedSequence):
            uses[layer] += _n_uses(layer, inputs[0].data, output)

    hooks = [layer.register_forward_hook(count) for layer, n in weights.items() if n]
    try:
        model.eval()
        for x, _, context in batches:
            code = torch.zeros_like(model.posterior(x, context).loc)
            model.likelihood(code, context).log_prob(x)
            n_rows += len(x)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    total = 0.0
    for layer, n in weights.items():
        # A layer that is not called, because another one reads its weights, counts once per row.
        total += n * uses.get(layer, n_rows)
    return total / n_rows


def _n_weights(layer):
    """Count the layer's own weights that take part in products; those of lookup tables do not."""
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return 0
    return sum(p.numel() for p in layer.parameters(recurse=False) if p.dim() > 1)


def _n_uses(layer, x, output):
    """Count how often a call of the layer uses each of its weights."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        # Once for each output or, in a transposed convolution, for each input: whichever is fewer.
        return min(x.numel() / layer.in_channels, output.numel() / layer.out_channels)
    return prod(x.shape[:-1])


def generator_states(device):
    """Return the states of the process's generators, for `set_generators`."""
    return [generator.get_state() for generator in _generators(device)]


def set_generators(device, states):
    """Set the process's generators to states of `generator_states`; in `restored_process`."""
    for generator, state in zip(_generators(device), states, strict=True):
        generator.set_state(state)


def _generators(device):
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]
