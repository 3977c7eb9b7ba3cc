"""Reads torch's ``.pth`` files without running anything that is in them.

A ``.pth`` is a pickle: a small program that may name any function of any installed module and
call it. Here that program meets names of our own only. Every name on the short list below maps
to an inert stand-in (a record of "a tensor of this shape lies there", or nothing at all), and
every other name ends the reading with an error that says which one it was. Tensors are read
from the file after the program has ended, and only those that are asked for, so optimizer and
moving-average copies cost no memory.

Both forms of the format are read: the zip archive (torch 1.6 and later) and the older one of
pickles followed by raw numbers. Facts of the formats: torch/serialization.py and
torch/_utils.py.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import WeightsError
from .standins import ITEM_BYTES, LazyTensor, Storage, StorageType, stand_in

if TYPE_CHECKING:
    from torch import Tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickled number of the older format (torch/serialization.py)."""

LEGACY_PROTOCOL = 1001
"""Second pickled number of the older format."""

MAX_PICKLE_BYTES = 256 << 20
"""Upper bound for the pickle of a zip archive: a real one has a few MB of names."""


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # an archive that claims to be encrypted, or packed in an unknown way
)


class _Unpickler(pickle.Unpickler):
    """Runs a pickle in which only the names above exist."""

    def __init__(self, stream: IO[bytes], storages: dict[str, Storage]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storages = storages

    def find_class(self, module: str, name: str, /) -> Any:
        """Give the stand-in of a name, or refuse it."""
        return stand_in(module, name)

    def persistent_load(self, pid: Any, /) -> Any:
        """Describe a storage."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("it refers to something that is no tensor")
        kind, key, numel = pid[1], pid[2], pid[4]
        if not isinstance(kind, StorageType) or not isinstance(numel, int) or numel < 0:
            raise pickle.UnpicklingError("it refers to numbers of an unknown kind")
        return self._storages.setdefault(str(key), Storage(str(key), kind.dtype, numel))


def _run(stream: IO[bytes], path: Path, storages: dict[str, Storage] | None = None) -> Any:
    """Run a pickle; every block of numbers it mentions goes into ``storages``."""
    try:
        return _Unpickler(stream, {} if storages is None else storages).load()
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path.name} was refused, because {error}: only files that hold tensors and nothing "
            "to execute are read. Get a clean copy of the weights, best as .safetensors."
        ) from None
    except (EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise WeightsError(
            f"{path.name} is damaged or no torch checkpoint; download it again ({error})."
        ) from None
    except (RecursionError, MemoryError, OverflowError, ImportError, struct.error) as error:
        raise WeightsError(f"{path.name} was refused: {type(error).__name__} ({error}).") from None


class PickleFile:
    """An open ``.pth``: its contents with tensors described, and a way to read those tensors.

    Args:
        path: The file.

    Raises:
        WeightsError: A damaged or foreign file, or one that names anything not on the list.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blobs: dict[str, tuple[int, int]] = {}
        self._zip: zipfile.ZipFile | None = None
        self._prefix = ""
        self._swap = False
        self._stream = path.open("rb")
        try:
            start = self._stream.read(4)
            self._stream.seek(0)
            self.contents = self._open_zip() if start == b"PK\x03\x04" else self._open_legacy()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PickleFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _open_zip(self) -> Any:
        try:
            archive = zipfile.ZipFile(self._stream)
            names = archive.namelist()
        except _ZIP_ERRORS as error:
            raise WeightsError(
                f"{self._path.name} is cut short or damaged; download it again ({error})."
            ) from None
        pickles = [n for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(pickles) != 1 or any(n.endswith("constants.pkl") for n in names):
            raise WeightsError(
                f"{self._path.name} is no checkpoint of tensors (a TorchScript file carries code "
                "and is not run); use the .onnx, .pth or .safetensors of the same network."
            )
        self._zip, self._prefix = archive, pickles[0].removesuffix("data.pkl")
        if archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
            raise WeightsError(f"{self._path.name} was refused: its pickle is absurdly large.")
        if f"{self._prefix}byteorder" in names:
            order = self._entry("byteorder").strip()
            self._swap = order != sys.byteorder.encode()
        return _run(io.BytesIO(self._entry("data.pkl")), self._path)

    def _entry(self, name: str) -> bytes:
        assert self._zip is not None
        try:
            return self._zip.read(self._prefix + name)
        except _ZIP_ERRORS as error:
            raise WeightsError(
                f"{self._path.name} is damaged; download it again ({error})."
            ) from None

    def _open_legacy(self) -> Any:
        stream, path = self._stream, self._path
        if stream.peek(1)[:1] != b"\x80":
            raise WeightsError(
                f"{path.name} is no torch checkpoint (neither a zip archive nor a pickle); "
                "download it again, or check that it is not a web page saved by mistake."
            )
        if _run(stream, path) != LEGACY_MAGIC:
            raise WeightsError(f"{path.name} is a pickle, but no torch checkpoint.")
        if _run(stream, path) != LEGACY_PROTOCOL:
            raise WeightsError(f"{path.name} is a torch checkpoint of an unknown version.")
        _run(stream, path)  # sys_info: endianness and sizes, the same wherever torch runs
        kinds: dict[str, Storage] = {}
        contents = _run(stream, path, kinds)
        keys = _run(stream, path)
        end = path.stat().st_size
        for key in map(str, keys if isinstance(keys, list) else []):
            header = stream.read(8)
            if len(header) != 8:
                raise WeightsError(f"{path.name} is cut short; download it again.")
            numel = struct.unpack("<q", header)[0]
            start = stream.tell()
            item = ITEM_BYTES[kinds[key].dtype] if key in kinds else 0
            if item == 0 or numel < 0 or start + numel * item > end:
                raise WeightsError(f"{path.name} is cut short or damaged; download it again.")
            self._blobs[key] = (start, numel * item)
            stream.seek(start + numel * item)
        return contents

    def _storage_bytes(self, storage: Storage) -> bytes:
        if self._zip is not None:
            if not storage.key.isalnum():
                raise WeightsError(f"{self._path.name} is damaged; download it again.")
            return self._entry(f"data/{storage.key}")
        if storage.key not in self._blobs:
            raise WeightsError(f"{self._path.name} is damaged; download it again.")
        start, size = self._blobs[storage.key]
        self._stream.seek(start)
        return self._stream.read(size)

    def read(self, lazy: LazyTensor) -> Tensor:
        """Read one tensor.

        Args:
            lazy: A tensor found in ``contents``.

        Raises:
            WeightsError: Its numbers are missing or too few.
        """
        import torch

        item = ITEM_BYTES[lazy.dtype]
        raw = bytearray(self._storage_bytes(lazy.storage))
        extent = [(n - 1) * step for n, step in zip(lazy.shape, lazy.stride, strict=True)]
        empty = 0 in lazy.shape
        last = lazy.offset + (0 if empty else sum(extent) + 1)
        # The second test refuses strides that repeat numbers, by which a tiny file could ask for
        # terabytes; no checkpoint of a network has them.
        if max(last, math.prod(lazy.shape)) * item > len(raw):
            raise WeightsError(f"{self._path.name} is cut short or damaged; download it again.")
        dtype = getattr(torch, lazy.dtype)
        if empty:
            return torch.empty(lazy.shape, dtype=dtype)
        if self._swap and item > 1:
            for index in range(item // 2):
                raw[index::item], raw[item - 1 - index :: item] = (
                    raw[item - 1 - index :: item],
                    raw[index::item],
                )
        flat = torch.frombuffer(raw, dtype=dtype)
        return flat.as_strided(lazy.shape, lazy.stride, lazy.offset).clone()
