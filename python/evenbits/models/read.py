"""Model files, tensor by tensor: names, shapes and dtypes first, data when it is asked for."""

from __future__ import annotations

import math
import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from evenbits._arrays import Array
from evenbits._tensorfile import Path, Tensor, open_file, tensor_of
from evenbits.encoded import EncodedError

_TORCH = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "complex64": "C64", "bool": "BOOL",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip


class Model(NamedTuple):
    """A model file: its tensors by name, and the metadata of a safetensors file."""

    path: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def open_model(path: Path) -> Model:
    """Open a safetensors file, an npz archive or a PyTorch checkpoint (weights only, where torch is installed).

    What a file is, is seen from its content. Raises OSError where it can't be opened, ValueError (EncodedError) where
    it is damaged or holds what is no tensor, ModuleNotFoundError where a package is missing.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"PK\x03\x04" or magic == b"PK\x05\x06":
        return Model(name, _npz(name) if _is_npz(name) else _torch(name), {})
    if name.lower().endswith((".pt", ".pth", ".bin")) and magic[:1] == b"\x80":  # a pickle, as torch wrote them once
        return Model(name, _torch(name), {})
    tensors, metadata = open_file(path)
    return Model(name, tensors, metadata)


def _is_npz(path: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(member.endswith(".npy") for member in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise EncodedError(f"{path} is truncated or damaged: {error}") from None


def _npz(path: str) -> dict[str, Tensor]:
    return dict(_npz_members(path))


def _npz_members(path: str) -> Iterator[tuple[str, Tensor]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            with _explained(path, name), archive.open(member) as file:
                old = npy.read_magic(file) == (1, 0)
                shape, _, dtype = (npy.read_array_header_1_0 if old else npy.read_array_header_2_0)(file)
                if dtype.hasobject:
                    raise ValueError("it holds Python objects, which evenbits does not unpickle")
            like = tensor_of(np.empty(0, dtype), name)
            size = math.prod(shape) * dtype.itemsize
            yield name, Tensor(like.dtype, tuple(shape), size, _npz_reader(path, name))


def _npz_reader(path: str, name: str) -> Callable[[], Array]:
    def read() -> Array:
        with _explained(path, name), np.load(path, allow_pickle=False) as archive:
            return tensor_of(np.asarray(archive[name]), name).read()

    return read


@dataclass
class _explained:
    """Turn the errors of reading an archive's member into one that names it."""

    path: str
    name: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, zlib.error)):
            raise EncodedError(f"{self.path}: {self.name} cannot be read: {error}") from None


def _torch(path: str) -> dict[str, Tensor]:
    try:
        torch: Any = import_module("torch")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'{path} is a PyTorch checkpoint, which takes torch to read: pip install "evenbits[torch]"'
        ) from None
    try:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (RuntimeError, ValueError):  # the older format cannot be mapped
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("\n")[0].split(". ")[0]  # torch writes bold paragraphs
        raise EncodedError(f"{path} is damaged, or holds more than weights, which is not run: {reason}") from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise EncodedError(f"{path} holds a {type(loaded).__name__}, not a state_dict")
    return {name: _torch_tensor(path, name, value) for name, value in loaded.items() if hasattr(value, "detach")}


def _torch_tensor(path: str, name: str, value: Any) -> Tensor:
    dtype = _TORCH.get(str(value.dtype).removeprefix("torch."))
    if dtype is None or str(value.layout) != "torch.strided":
        raise EncodedError(f"{path}: {name} is a {value.dtype} {value.layout} tensor; evenbits reads dense numbers")

    def read() -> Array:
        flat: Array = value.detach().contiguous().reshape(-1).view(import_module("torch").uint8).numpy()
        return flat

    return Tensor(dtype, tuple(value.shape), value.numel() * value.element_size(), read)
