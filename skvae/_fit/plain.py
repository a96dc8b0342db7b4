"""From a fitted object to plain arrays and settings, and back, without pickle.

One pair of functions (`state_of`, `restored`) serves pickle, files and checkpoints. Settings are
JSON, arrays are NumPy's. Classes are named, never stored, and only those of this package and of
`torch.nn` are looked up: reading a file runs no code that it brings along.
"""

import sys
from collections import OrderedDict
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

OF_TORCH = "torch.nn.modules."
PACKAGE = __name__.partition(".")[0]
VERSION = sys.modules[PACKAGE].__version__
ROOT = Path(sys.modules[PACKAGE].__file__).parent
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in ROOT.rglob("*.py")}


class State(NamedTuple):
    """An object as settings, arrays and what is neither."""

    settings: object  # what JSON can hold; it refers to the other two by name
    arrays: dict  # of ndarray, by name
    foreign: dict  # of what neither can hold, such as functions of the user's own, by name


class CannotSave(TypeError):
    """Error for an object that a file cannot hold."""


def state_of(value, keep_foreign=False):
    """Turn an object into plain arrays and settings, which share memory with it.

    It may be made of numbers, strings, lists, tuples, sets, dicts, arrays, tensors, and of
    objects and modules whose classes are those of this package and of `torch.nn`. Other objects
    are kept as they are for pickle (`keep_foreign`). Otherwise they are an error, except a module
    that a function of the user's own has built: its weights are kept, and `restored` needs the
    function among the `foreign`.
    """
    writer = _Writer(keep_foreign)
    settings = writer.plain(value)
    return State(settings, writer.arrays, writer.foreign)


def restored(state):
    """Return the object that `state_of` turned into a state; raise a ValueError if it is damaged.

    The object has memory of its own, and its tensors are on the CPU. The state's `foreign` must
    hold everything that the settings mention.
    """
    try:
        return _Reader(state).value(state.settings)
    except _Unreadable:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, RuntimeError) as error:
        raise _Unreadable(f"{type(error).__name__}: {error}") from error
    except (TypeError, ValueError) as error:
        raise _Unreadable(str(error)) from error


class _Unreadable(ValueError):
    """Error for a state that cannot be restored, with the reason."""


class _Writer:
    """Turns objects into settings; arrays and foreign objects are collected on the way."""

    def __init__(self, keep_foreign):
        self.keep_foreign = keep_foreign
        self.arrays, self.foreign = {}, {}
        self.seen = {}  # by id: a name, and the object, so that no other one gets the same id

    def plain(self, value):
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        for kinds, write in _WRITE.items():
            if kind in kinds:
                return write(self, value)
        for kinds, write in _WRITE_SUBCLASSES.items():
            if isinstance(value, kinds):
                return write(self, value)
        if isinstance(value, type) and _is_ours(value.__module__):
            return {"class": _name(value)}
        if _is_ours(kind.__module__):
            return self._object(value)
        # By package and class only, because pandas moves its types from module to module.
        name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
        if name in VALUES:
            return {"value": name, "words": self.plain(VALUES[name][0](value))}
        return self._foreign(value)

    def _collection(self, value):
        return {type(value).__name__: [self.plain(one) for one in value]}

    def _dict(self, value):
        return {"dict": [[self.plain(name), self.plain(one)] for name, one in value.items()]}

    def _array(self, array):
        kind = "scalar" if isinstance(array, np.generic) else "array"
        if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            return {kind: self._named(array, np.ascontiguousarray(array).reshape(array.shape))}
        if array.dtype.kind in "OU":
            values = [self.plain(one) for one in array.ravel().tolist()]
            own = {"dtype": array.dtype.str, "shape": list(array.shape), "values": values}
            return {kind: own}
        return self._foreign(array)

    def _tensor(self, tensor):
        data = tensor.detach().cpu()
        if data.is_sparse or data.dtype in (torch.bfloat16, torch.complex64, torch.complex128):
            return self._foreign(tensor)
        name = self._named(tensor, np.ascontiguousarray(data.numpy()).reshape(tuple(data.shape)))
        if type(tensor) is nn.Parameter:
            return {"parameter": name, "trained": tensor.requires_grad}
        return {"tensor": name}

    def _named(self, value, array):
        """Return a name for an array, the same for the same object, so that it stays shared."""
        if id(value) not in self.seen:
            name = str(len(self.arrays))
            self.seen[id(value)], self.arrays[name] = (name, value), array
        return self.seen[id(value)][0]

    def _module(self, module):
        if id(module) in self.seen:
            return {"again": self.seen[id(module)][0]}
        home = type(module).__module__
        if not _is_ours(home) and not home.startswith(OF_TORCH):
            return self._foreign_module(module)
        name = self.seen.setdefault(id(module), (f"module {len(self.seen)}", module))[0]
        state = {
            key: value
            for key, value in module.__getstate__().items()
            if not (type(value) is OrderedDict and not value)  # an empty table of hooks
        }
        return {"module": _name(type(module)), "name": name, "state": self.plain(state)}

    def _foreign_module(self, module):
        built = vars(module).get("_built_by")
        if self.keep_foreign or built is None:
            return self._foreign(module)
        name = self.seen.setdefault(id(module), (f"module {len(self.seen)}", module))[0]
        weights = self.plain(dict(module.state_dict()))
        own = {"class": type(module).__qualname__, "name": name, "training": module.training}
        return {"built": self.plain(built), "weights": weights, **own}

    def _object(self, value):
        if isinstance(value, tuple):
            return {"named": _name(type(value)), "values": [self.plain(one) for one in value]}
        if is_dataclass(value):
            state = {field.name: getattr(value, field.name) for field in fields(value)}
        else:
            state = vars(value)
        return {"object": _name(type(value)), "state": self.plain(state)}

    def _foreign(self, value):
        if not self.keep_foreign:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise CannotSave(f"an object of type {kind} cannot be put into a file without pickle")
        name = str(len(self.foreign))
        self.foreign[name] = value
        return {"foreign": name}


_WRITE = {
    (float,): lambda writer, value: value if np.isfinite(value) else {"float": repr(value)},
    (list,): lambda writer, value: [writer.plain(one) for one in value],
    (tuple, set, frozenset): _Writer._collection,
    (dict, OrderedDict): _Writer._dict,
    (torch.Tensor, nn.Parameter): _Writer._tensor,
    (torch.device, torch.dtype): lambda writer, value: {
        type(value).__name__: str(value).removeprefix("torch.")
    },
    (np.random.RandomState,): lambda writer, value: {
        "random_state": writer.plain(value.get_state())
    },
}
_WRITE_SUBCLASSES = {(np.generic, np.ndarray): _Writer._array, (nn.Module,): _Writer._module}


class _Reader:
    """Turns settings into objects, with a method for each kind of object."""

    def __init__(self, state):
        self.arrays, self.foreign = state.arrays, state.foreign
        self.seen = {}

    def value(self, plain):
        if isinstance(plain, list):
            return [self.value(one) for one in plain]
        if not isinstance(plain, dict):
            return plain
        kind = next(iter(plain), None)
        read = _READ.get(kind)
        if read is None:
            raise _Unreadable(f"it holds an object of an unknown kind, {kind!r}")
        return read(self, plain)

    def items(self, plain):
        """Return the dict of plain items."""
        return {self.value(name): self.value(one) for name, one in plain["dict"]}

    def array(self, plain):
        if isinstance(plain, dict):
            array = np.empty(len(plain["values"]), dtype=plain["dtype"])
            array[:] = [self.value(one) for one in plain["values"]]
            return array.reshape(plain["shape"])
        if plain not in self.arrays:
            raise _Unreadable(f"the array {plain!r} is missing")
        return np.array(self.arrays[plain])  # a copy

    def shared(self, name, make):
        if name not in self.seen:
            self.seen[name] = make(torch.from_numpy(self.array(name)))
        return self.seen[name]

    def parameter(self, plain):
        trained = bool(plain["trained"])
        return self.shared(plain["parameter"], lambda data: nn.Parameter(data, trained))

    def module(self, plain):
        cls = _class(plain["module"])
        if not issubclass(cls, nn.Module):
            raise _Unreadable(f"{plain['module']} is not a module")
        module = self.seen[plain["name"]] = cls.__new__(cls)
        nn.Module.__init__(module)
        module.__setstate__({**vars(module), **self.items(plain["state"])})
        return module

    def built(self, plain):
        name, args, options = self.value(plain["built"])
        module = self.foreign[name](*args, **options)
        if not isinstance(module, nn.Module):
            raise _Unreadable(
                f"{name} must return the module that was fitted, a {plain['class']}; it returned "
                f"an object of type {type(module).__qualname__}"
            )
        weights = self.value(plain["weights"])
        dtypes = {weight.dtype for weight in weights.values() if weight.is_floating_point()}
        if len(dtypes) == 1:
            module.to(dtypes.pop())
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            raise _Unreadable(
                f"{name} returned a {type(module).__qualname__} that is not built as the "
                f"{plain['class']} that was fitted: {error}"
            ) from error
        vars(module)["_built_by"] = (name, args, options)
        self.seen[plain["name"]] = module.train(plain["training"])
        return module

    def object(self, plain):
        cls = _class(plain["object"])
        if issubclass(cls, nn.Module | tuple) or not _is_ours(cls.__module__):
            raise _Unreadable(f"{plain['object']} is not an object of settings")
        state = self.items(plain["state"])
        if is_dataclass(cls):
            return cls(**state)
        value = cls.__new__(cls)
        vars(value).update(state)
        return value

    def named(self, plain):
        cls = _class(plain["named"])
        if not (issubclass(cls, tuple) and _is_ours(cls.__module__)):
            raise _Unreadable(f"{plain['named']} is not a tuple")
        return cls(*self.value(plain["values"]))

    def random_state(self, plain):
        generator = np.random.RandomState()
        generator.set_state(self.value(plain["random_state"]))
        return generator

    def foreigner(self, plain):
        name = plain["foreign"]
        if name not in self.foreign:
            raise _Unreadable(f"{name!r} is missing")
        return self.foreign[name]


_READ = {
    "float": lambda reader, plain: float(plain["float"]),
    "tuple": lambda reader, plain: tuple(reader.value(plain["tuple"])),
    "set": lambda reader, plain: set(reader.value(plain["set"])),
    "frozenset": lambda reader, plain: frozenset(reader.value(plain["frozenset"])),
    "dict": _Reader.items,
    "scalar": lambda reader, plain: reader.array(plain["scalar"])[()],
    "array": lambda reader, plain: reader.array(plain["array"]),
    "tensor": lambda reader, plain: reader.shared(plain["tensor"], lambda data: data),
    "parameter": _Reader.parameter,
    "device": lambda reader, plain: torch.device(plain["device"]),
    "dtype": lambda reader, plain: _dtype(plain["dtype"]),
    "random_state": _Reader.random_state,
    "class": lambda reader, plain: _class(plain["class"]),
    "module": _Reader.module,
    "again": lambda reader, plain: reader.seen[plain["again"]],
    "built": _Reader.built,
    "object": _Reader.object,
    "named": _Reader.named,
    "foreign": _Reader.foreigner,
    "value": lambda reader, plain: VALUES[plain["value"]][1](reader.value(plain["words"])),
}


def _pandas(name, *args, **options):
    return getattr(import_module("pandas"), name)(*args, **options)


# Values in tables, such as categories, or in parameters: how each type is written as plain values,
# and read again.
VALUES = {
    "datetime.datetime": (datetime.isoformat, datetime.fromisoformat),
    "datetime.date": (date.isoformat, date.fromisoformat),
    "datetime.time": (time.isoformat, time.fromisoformat),
    "datetime.timedelta": (
        lambda value: (value.days, value.seconds, value.microseconds),
        lambda words: timedelta(*words),
    ),
    "decimal.Decimal": (str, Decimal),
    "fractions.Fraction": (str, Fraction),
    "builtins.bytes": (bytes.hex, bytes.fromhex),
    "builtins.slice": (  # of columns, as a likelihood names them
        lambda value: (value.start, value.stop, value.step),
        lambda words: slice(*words),
    ),
    "pandas.Timestamp": (
        lambda value: (int(value.asm8.astype(int)), value.unit, value.tz and str(value.tz)),
        lambda words: (
            _pandas("Timestamp", words[0], unit=words[1], tz="UTC")
            .as_unit(words[1])
            .tz_convert(words[2])
        ),
    ),
    "pandas.Timedelta": (
        lambda value: (int(value.asm8.astype(int)), value.unit),
        lambda words: _pandas("Timedelta", words[0], unit=words[1]).as_unit(words[1]),
    ),
    "pandas.Period": (
        lambda value: (str(value), value.freqstr),
        lambda words: _pandas("Period", words[0], freq=words[1]),
    ),
    "pandas.Interval": (
        lambda value: (value.left, value.right, value.closed),
        lambda words: _pandas("Interval", *words),
    ),
}


def _is_ours(module):
    """Return whether a Python module, given by its name, is one of this package."""
    package, _, name = module.partition(".")
    return package == PACKAGE and name in MODULES


def _name(cls):
    return f"{cls.__module__}:{cls.__qualname__}"


def _class(name):
    """Return the class of this name; refuse any but those of this package and of torch.nn."""
    module, _, attribute = name.partition(":")
    cls = None
    if _is_ours(module):
        cls = getattr(import_module(module), attribute, None)
    elif module.startswith(OF_TORCH):
        cls = getattr(sys.modules.get(module), attribute, None)
    if not (isinstance(cls, type) and _name(cls) == name):  # not what the module itself imports
        raise _Unreadable(f"it asks for {name!r}, which is not a class that a file may name")
    return cls


def _dtype(name):
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise _Unreadable(f"{name!r} is not a dtype")
    return dtype
