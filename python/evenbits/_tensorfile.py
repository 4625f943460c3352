"""Safetensors files as they lie on the disk: raw tensors read on demand, and files written whole or not at all.

Reading leaves the judgement of a file to the safetensors library; writing is done here, because the bytes must not
depend on that library's version and a file larger than memory has to pass through.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from evenbits._arrays import Array, bfloat16_bits
from evenbits.encoded import EncodedError

Path = str | os.PathLike[str]

_NUMPY = {
    "F64": "float64", "F32": "float32", "F16": "float16", "C64": "complex64", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip
_ML_DTYPES = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_CODES = {name: code for code, name in (_NUMPY | _ML_DTYPES).items()}
_LONGEST_HEADER = 100_000_000  # readers refuse more


@dataclass(frozen=True)
class Tensor:
    """A tensor whose bytes are fetched by ``read``, as flat uint8. ``dtype`` is named as safetensors names it."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    read: Callable[[], NDArray[np.uint8]]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype_name(self) -> str:
        """The dtype as NumPy would call it."""
        return (_NUMPY | _ML_DTYPES).get(self.dtype, self.dtype)

    def array(self) -> Array:
        """The tensor as a NumPy array; bfloat16 becomes float32, exactly, where ml_dtypes is missing."""
        data = self.read()
        if self.dtype in _NUMPY:
            array = data.view(np.dtype(_NUMPY[self.dtype]).newbyteorder("<")).reshape(self.shape)
            return array if array.flags.aligned else array.copy()
        try:
            import ml_dtypes

            special: Array = data.view(getattr(ml_dtypes, _ML_DTYPES[self.dtype])).reshape(self.shape)
            return special if special.flags.aligned else special.copy()
        except (ImportError, AttributeError):
            if self.dtype == "BF16":
                return self.floats()
            raise ModuleNotFoundError(f"{self.dtype} tensors need ml_dtypes: pip install ml_dtypes") from None
        except KeyError:
            raise TypeError(f"NumPy has no dtype for {self.dtype} tensors") from None

    def floats(self) -> Array:
        """As :meth:`array`, but bfloat16 always becomes float32, so that results don't depend on what is installed."""
        if self.dtype != "BF16":
            return self.array()
        wide = self.read().view("<u2").astype(np.uint32)
        return np.left_shift(wide, 16, out=wide).view(np.float32).reshape(self.shape)


def tensor_of(array: Array, name: str = "array") -> Tensor:
    """The tensor that holds ``array``. Raises TypeError where safetensors has no dtype for it."""
    code = _CODES.get(array.dtype.name)
    if code is None:
        raise TypeError(f"{name} has dtype {array.dtype}, which safetensors cannot hold")
    native = array if code in _ML_DTYPES else array.astype(array.dtype.newbyteorder("<"), copy=False)
    flat = np.ascontiguousarray(native).reshape(-1)
    return Tensor(code, array.shape, array.nbytes, lambda: flat.view(np.uint8))


def tensor_like(dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor without data: for files that are only measured."""

    def read() -> NDArray[np.uint8]:
        raise RuntimeError("this tensor has no data")

    return Tensor(_CODES[dtype], shape, math.prod(shape) * np.dtype(dtype).itemsize, read)


def float_tensor(dtype: str, shape: tuple[int, ...], values: Callable[[], Array]) -> Tensor:
    """The tensor of floats that ``values`` computes when it is read, rounded to ``dtype`` ("BF16" or NumPy's name)."""
    code = _CODES.get(dtype, dtype)
    size = math.prod(shape) * (2 if code == "BF16" else np.dtype(_NUMPY[code]).itemsize)

    def read() -> NDArray[np.uint8]:
        x = values()
        if code != "BF16":
            return tensor_of(x.astype(_NUMPY[code], copy=False)).read()
        return tensor_of(bfloat16_bits(x)).read()

    return Tensor(code, shape, size, read)


def open_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, still on the disk, and its metadata. Raises EncodedError for other files."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        raise ModuleNotFoundError('reading model files needs safetensors: pip install "evenbits[models]"') from None
    with open(path, "rb") as file:  # the plain errors: no such file, a directory, not allowed
        try:
            with safe_open(path, framework="np"):
                pass
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            reason = str(error).removeprefix("Error while deserializing header: ")
            raise EncodedError(f"{os.fspath(path)} is truncated, damaged or no safetensors file: {reason}") from None
        raw = np.memmap(file, np.uint8, mode="r").view(np.ndarray)[8 + length :]
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), end - begin, _slice(raw, begin, end))
    return tensors, metadata


def _slice(raw: NDArray[np.uint8], begin: int, end: int) -> Callable[[], NDArray[np.uint8]]:
    return lambda: raw[begin:end]


def checksum(data: NDArray[np.uint8]) -> str:
    """CRC-32 as eight hexadecimal digits: of fixed length, so that a header's size is known before its data."""
    return f"{zlib.crc32(data.data):08x}"


class _NoChecksums(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "00000000"


no_checksums: Mapping[str, str] = _NoChecksums()
"""Stands for the checksums of all tensors while their data is unread."""


def write_file(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Callable[[Mapping[str, str]], Mapping[str, str]],
    limit: int | None = None,
) -> int:
    """Write a safetensors file and return its size. ``metadata`` is asked with the checksums of all tensors.

    Its answer must be equally long for every value of the checksums. Tensors are read once, one after the other.
    Raises ValueError, and leaves no file, if it would be larger than ``limit`` bytes.
    """
    head = header(tensors, metadata(no_checksums))
    size = len(head) + sum(tensor.nbytes for tensor in tensors.values())
    if limit is not None and size > limit:
        raise ValueError(f"{os.fspath(path)} would take {size} bytes, more than the {limit} allowed")
    with atomic(path) as file:
        file.write(head)
        checksums = {}
        for name in _order(tensors):
            data = tensors[name].read()
            checksums[name] = checksum(data)
            file.write(data.data)
        end = file.tell()
        file.seek(0)
        file.write(header(tensors, metadata(checksums)))
        if (file.tell(), end) != (len(head), size):
            raise RuntimeError(f"{os.fspath(path)} came out in another size than planned; please report this")
    return size


def header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The header of a safetensors file, its length before it, padded so that the data begins at a multiple of 8."""
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    begin = 0
    for name in _order(tensors):
        tensor = tensors[name]
        end = begin + tensor.nbytes
        entries[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise ValueError(f"the header would take {len(text)} bytes; safetensors allows {_LONGEST_HEADER}")
    return len(text).to_bytes(8, "little") + text


def _order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Large items first, so that every tensor is aligned to its items."""
    return sorted(tensors, key=lambda name: (-(tensors[name].nbytes // max(tensors[name].size, 1)), name))


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` when the block ends well, and vanishes when it doesn't."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if os.path.lexists(target) and not os.path.isfile(target):
        raise OSError(f"{os.fspath(path)} is not an ordinary file; name another output")
    temporary = os.path.join(folder, f".evenbits-{secrets.token_hex(8)}.tmp")
    try:
        try:
            file = open(temporary, "xb")  # noqa: SIM115 - closed below, before the rename
        except OSError as error:
            raise type(error)(error.errno, error.strerror, folder) from None
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if os.name == "posix":
        with suppress(OSError):  # not every file system can
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
