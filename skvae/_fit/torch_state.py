"""What a call finds in the process: how it is kept out of the call, and put back after it."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import torch

from skvae._torch import TorchDispatchMode

# Held for moments, never around code of others. Reentrant, because a signal handler or a garbage
# collection can run such code even there, in the thread that holds it.
_lock = threading.RLock()
_dtype = {"users": 0}
AUTOCASTING = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def plain_torch() -> Iterator[None]:
    """Let PyTorch be inside what it is when a process begins, and after what it was before.

    Inside gradients are on, inference mode and autocast are off, numbers are of single precision
    and tensors on the CPU unless they are asked for elsewhere. So neither a ``torch.no_grad()``
    around a call nor ``torch.set_default_dtype`` before it changes what the call does. As a
    decorator, it stands before every public call that computes.

    Examples
    --------
    >>> import torch
    >>> from skvae._fit.torch_state import plain_torch
    >>> with torch.no_grad(), plain_torch():
    ...     torch.is_grad_enabled()
    True
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
    # first to come notes what it found and the last to leave puts it back.
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
    """A context inside which everything that PyTorch draws comes from generators of its own.

    It holds for the thread that enters it, and leaves the process's generators alone, so that
    several threads can draw at once and each gets what its seed gives. It reaches what takes no
    generator, such as the weights of a new layer or a sample of `torch.distributions`, at some
    microseconds for each call to PyTorch.

    Parameters
    ----------
    seed : int
        Of the generators, one for each device.

    Examples
    --------
    >>> import torch
    >>> from skvae._fit.torch_state import SeededDraws
    >>> with SeededDraws(0):
    ...     first = torch.distributions.Normal(0.0, 1.0).sample()
    >>> with SeededDraws(0):
    ...     bool(torch.distributions.Normal(0.0, 1.0).sample() == first)
    True
    """

    def __init__(self, seed):
        super().__init__()
        self.seed, self._generators = seed, {}

    def generator(self, device):
        """Return the generator of a device.

        Parameters
        ----------
        device : torch.device or str
            Where its numbers are wanted.

        Returns
        -------
        torch.Generator
            The same each time.
        """
        device = torch.empty(0, device=device).device  # "cuda" is one of those with a number
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # else PyTorch imports its compiler, 2 s, to keep it away from this class

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
    """The operation itself, or its variant that takes a generator; None if it draws nothing."""
    wanted = {*_arguments(func), "generator"}
    packet = func.overloadpacket
    variants = (getattr(packet, name) for name in packet.overloads())
    return next((op for op in (func, *variants) if {*_arguments(op)} == wanted), None)


def _arguments(operation):
    return [argument.name for argument in operation._schema.arguments]


# Generators and threads belong to the whole process. When several threads fit at once, the
# first to come notes what it found and the last to leave puts it back.
_found = {"users": 0, "states": {}}

WORK_OF_A_THREAD = 1e9


@contextmanager
def borrowed_process(work, device, seed=None):
    """Seed freely inside, and use no more threads than `work` deserves; put both back after.

    Parameters
    ----------
    work : float
        Multiplications of one step. Below about 1e9 a second thread gains little on an idle
        machine, and costs many times the step on a busy one.
    device : torch.device
        Whose generator is kept, beside the CPU's.
    seed : int, optional
        To seed those generators with, for networks that draw from them, as dropout does.
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
    torch.set_num_threads(max(1, min(threads, round(work / WORK_OF_A_THREAD))))
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


def generator_states(device):
    """What the process's generators will draw next.

    Parameters
    ----------
    device : torch.device
        Whose generator is meant, beside the CPU's.

    Returns
    -------
    list of Tensor
        For `set_generators`.
    """
    return [generator.get_state() for generator in _generators(device)]


def set_generators(device, states):
    """Let the process's generators draw what they would have; in `borrowed_process`."""
    for generator, state in zip(_generators(device), states, strict=True):
        generator.set_state(state)


def _generators(device):
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]
