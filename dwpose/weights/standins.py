"""The only things a ``.pth`` may name, and what it gets instead of them.

Every stand-in is inert: a record of "a tensor of this shape lies there", or nothing at all. The
names are those that torch.save writes for tensors, and those that mmengine's checkpoints add
for their training log.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
"""Storage class -> dtype of its numbers."""

ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


@dataclass(frozen=True)
class StorageType:
    """Stand-in for a torch storage class."""

    dtype: str


@dataclass(frozen=True)
class _DType:
    """Stand-in for a torch dtype."""

    name: str


@dataclass
class Storage:
    """Where a block of numbers lies."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that has been described but not read."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Inert:
    """Stand-in for a class whose objects are of no use here; takes anything, does nothing."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Make an empty object from any arguments."""
        del args, kwargs
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        del state

    def append(self, item: Any) -> None:
        """Drop an item of a list."""

    def extend(self, items: Any) -> None:
        """Drop items of a list."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Drop an item of a dictionary."""


class _HistoryBuffer(Inert):
    """Stand-in for mmengine's training log."""

    __slots__ = ()


class _Call:
    """Stand-in for a function; a pickle can call it but not change it."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        object.__setattr__(self, "_run", run)

    def __call__(self, *args: Any) -> Any:
        return self._run(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it tries to change a function")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to change a function")


def _tensor(
    storage: Storage, offset: int, shape: Any, stride: Any, dtype: str | None = None
) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without numbers")
    sizes = (int(offset), *map(int, shape), *map(int, stride))
    if min(sizes) < 0 or len(tuple(shape)) != len(tuple(stride)):
        raise pickle.UnpicklingError("a tensor with an impossible shape")
    return LazyTensor(
        storage,
        dtype or storage.dtype,
        int(offset),
        tuple(int(n) for n in shape),
        tuple(int(n) for n in stride),
    )


def _rebuild_tensor_v2(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> LazyTensor:
    return _tensor(storage, offset, shape, stride)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> LazyTensor:
    del grad, hooks
    if not isinstance(dtype, _DType):
        raise pickle.UnpicklingError("a tensor without a dtype")
    return _tensor(storage, offset, shape, stride, dtype.name)


def _history_method(owner: Any, name: Any) -> Inert:
    # mmengine's log keeps references to its own methods; protocol 2 writes them as getattr calls.
    del name
    if owner is not _HistoryBuffer:
        raise pickle.UnpicklingError("it calls builtins.getattr")
    return Inert()


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _Call(_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): _Call(_rebuild_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): _Call(lambda data, *_: data),
    ("torch._utils", "_rebuild_parameter_with_state"): _Call(lambda data, *_: data),
    ("torch.serialization", "_get_layout"): _Call(lambda *_: Inert()),
    ("torch", "Size"): _Call(lambda *args: tuple(*args)),
    ("torch", "device"): _Call(lambda *_: Inert()),
    ("torch.storage", "UntypedStorage"): StorageType("uint8"),
    ("_codecs", "encode"): _Call(lambda *_: b""),
    ("numpy", "ndarray"): Inert,
    ("numpy", "dtype"): Inert,
    ("mmengine.logging.history_buffer", "HistoryBuffer"): _HistoryBuffer,
}
for _name, _dtype in _STORAGES.items():
    ALLOWED["torch", _name] = StorageType(_dtype)
for _dtype in ITEM_BYTES:
    ALLOWED["torch", _dtype] = _DType(_dtype)
for _package in ("numpy.core.multiarray", "numpy._core.multiarray"):
    ALLOWED[_package, "scalar"] = _Call(lambda *_: Inert())
    ALLOWED[_package, "_reconstruct"] = _Call(lambda *_: Inert())
for _builtins in ("builtins", "__builtin__"):
    ALLOWED[_builtins, "getattr"] = _Call(_history_method)
    ALLOWED[_builtins, "set"] = set
    ALLOWED[_builtins, "frozenset"] = frozenset


def stand_in(module: str, name: str) -> Any:
    """What a pickle gets for a name.

    Args:
        module: Module as the pickle writes it.
        name: Name in it, dotted for a method.

    Raises:
        pickle.UnpicklingError: The name is not on the list.
    """
    if (module, name) in ALLOWED:
        return ALLOWED[module, name]
    # mmengine's log refers to its own methods, numpy's dtypes to their classes.
    log_method = module == "mmengine.logging.history_buffer" and name.startswith("HistoryBuffer.")
    if log_method or (module == "numpy.dtypes" and name.endswith("DType")):
        return Inert
    home = "builtins" if module == "__builtin__" else module  # its name in Python 2 and 3
    raise pickle.UnpicklingError(f"it uses {home}.{name}")
