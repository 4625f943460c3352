"""Tensors and their codes in one ordinary safetensors file, with checksums.

The planes of the encoded tensor ``name`` are the tensors ``name.plane``, an array is the tensor ``name``. All the rest
is canonical JSON under the key ``evenbits`` of the file's metadata::

    {"version": 1, "crc32": C, "tensors": {name: {"spec": ..., "crc32": {plane: C}} | {"crc32": C}}}

with CRC-32 sums as eight hexadecimal digits. The outer one covers this JSON without itself, the other metadata, and the
names, dtypes and shapes of all tensors; it is checked at every opening. An entry may have a "shape": the tensor's own,
where it was encoded as rows of another.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from evenbits._arrays import Array, as_array
from evenbits._tensorfile import (
    Path,
    Tensor,
    checksum,
    float_tensor,
    header,
    no_checksums,
    open_file,
    tensor_like,
    tensor_of,
    write_file,
)
from evenbits.codings import Coding
from evenbits.encoded import ERRORS, Encoded, EncodedError, canonical_json, decode, validate
from evenbits.spec import Spec

KEY = "evenbits"
VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One tensor of a container: codes if it has a spec, else an array, whose only plane is called "".

    ``shape`` is the tensor's own where it was encoded as rows of another.
    """

    name: str
    spec: dict[str, Any] | None
    planes: dict[str, Tensor]
    shape: tuple[int, ...] | None = None
    checksums: Mapping[str, str] = field(default_factory=lambda: no_checksums)

    @property
    def nbytes(self) -> int:
        """Bytes of the planes and of the canonical JSON of the spec."""
        spec = 0 if self.spec is None else len(canonical_json(self.spec))
        return sum(plane.nbytes for plane in self.planes.values()) + spec

    def tensors(self) -> dict[str, Tensor]:
        """The planes by their names in the file."""
        return {f"{self.name}.{plane}" if plane else self.name: tensor for plane, tensor in self.planes.items()}

    def damaged(self) -> list[str]:
        """The tensors in the file whose data do not match their checksums."""
        pairs = zip(self.tensors().items(), self.planes, strict=True)
        return [name for (name, tensor), plane in pairs if checksum(tensor.read()) != self.checksums[plane]]

    def encoded(self) -> Encoded:
        """The codes; EncodedError if the planes are not what the spec says."""
        if self.spec is None:
            raise TypeError(f"{self.name} is kept as it was, not encoded")
        try:
            encoded = Encoded({plane: tensor.array() for plane, tensor in self.planes.items()}, self.spec)
            validate(encoded)
            if self.shape is not None and math.prod(self.shape) != math.prod(encoded.shape):
                raise EncodedError(f"shape is {self.shape}; its codes have the shape {encoded.shape}")
        except (EncodedError, TypeError, ModuleNotFoundError) as error:
            raise EncodedError(f"{self.name}: {error}") from None
        return encoded

    def value(self) -> Encoded | Array:
        return self.planes[""].array() if self.spec is None else self.encoded()

    def decoded(self, *, workers: int = 1, bits: float | None = None) -> Tensor:
        """The tensor with the dtype and shape it had before; its values are decoded when they are read, from ``bits`` a value."""
        if self.spec is None:
            return self.planes[""]
        encoded = self.encoded()
        if bits is not None:
            try:
                encoded = encoded.cut(bits)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from None
        shape = encoded.shape if self.shape is None else self.shape
        return float_tensor(encoded.dtype, shape, lambda: decode(encoded, workers=workers))


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found."""

    path: str
    tensors: int
    planes: int
    nbytes: int
    damaged: tuple[str, ...]
    certified: int = 0
    """Tensors with a certificate."""

    @property
    def ok(self) -> bool:
        return not self.damaged


def save(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write encoded tensors and arrays to a safetensors file.

    ``tensors`` maps names to :class:`Encoded` or to arrays, which are kept as they are. The same tensors give the same
    bytes. The file replaces ``path`` when it is complete and on the disk; after a failure ``path`` is as it was.
    Raises ValueError if two tensors of the file would have one name, TypeError for dtypes that safetensors lacks.
    """
    write(path, [entry_of(name, value) for name, value in tensors.items()])


def entry_of(name: str, value: Any, shape: tuple[int, ...] | None = None) -> Entry:
    """The entry of codes (Encoded, or the spec of codes yet to come), of a raw tensor, or of an array."""
    if not isinstance(name, str):
        raise TypeError(f"the tensor name {name!r} is a {type(name).__name__}; it must be a string")
    if isinstance(value, Encoded):
        validate(value)
        planes = {plane: tensor_of(array, name) for plane, array in value.planes.items()}
        return Entry(name, value.spec, planes, shape)
    if isinstance(value, (Spec, Coding)):
        planes = {plane: tensor_like(dtype, shape) for plane, (dtype, shape) in value.layout().items()}
        return Entry(name, value.to_dict(), planes, shape)
    return Entry(name, None, {"": value if isinstance(value, Tensor) else tensor_of(as_array(value, name), name)})


def write(
    path: Path, entries: Iterable[Entry], *, metadata: Mapping[str, str] | None = None, limit: int | None = None
) -> int:
    """Write a container and return its size, which ``limit`` may bound: ValueError, and no file, if it is larger."""
    file = _Layout.of(entries, metadata)
    return write_file(path, file.tensors, file.metadata, limit)


def file_size(entries: Iterable[Entry], *, metadata: Mapping[str, str] | None = None) -> int:
    """The size of the file that :func:`write` would write; no data is read."""
    file = _Layout.of(entries, metadata)
    return len(header(file.tensors, file.metadata())) + sum(tensor.nbytes for tensor in file.tensors.values())


@dataclass(frozen=True)
class _Layout:
    """All of a file but its data."""

    entries: tuple[Entry, ...]
    tensors: dict[str, Tensor]
    others: dict[str, str]

    @classmethod
    def of(cls, entries: Iterable[Entry], metadata: Mapping[str, str] | None) -> _Layout:
        entries = tuple(entries)
        tensors: dict[str, Tensor] = {}
        for entry in entries:
            for name, tensor in entry.tensors().items():
                if name in tensors or name == "__metadata__":
                    reason = "already has a tensor of that name" if name in tensors else "reserves that name"
                    raise ValueError(f"{entry.name} would be written as {name!r}, but the file {reason}; rename one")
                tensors[name] = tensor
        return cls(entries, tensors, {key: value for key, value in (metadata or {}).items() if key != KEY})

    def metadata(self, sums: Mapping[str, str] = no_checksums) -> dict[str, str]:
        listed: dict[str, Any] = {}
        for entry in self.entries:
            found = [sums[name] for name in entry.tensors()]
            if entry.spec is None:
                listed[entry.name] = {"crc32": found[0]}
                continue
            listed[entry.name] = {"spec": entry.spec, "crc32": dict(zip(entry.planes, found, strict=True))}
            if entry.shape is not None:
                listed[entry.name]["shape"] = list(entry.shape)
        head = {"version": VERSION, "tensors": listed}
        return self.others | {KEY: canonical_json(head | {"crc32": _head_checksum(head, self.tensors, self.others)})}


def _head_checksum(head: Mapping[str, Any], tensors: Mapping[str, Tensor], others: Mapping[str, str]) -> str:
    layout = {name: [tensor.dtype, list(tensor.shape)] for name, tensor in tensors.items()}
    covered = canonical_json({"head": dict(head), "layout": layout, "metadata": dict(others)})
    return f"{zlib.crc32(covered.encode()):08x}"


def load(path: Path, *, verify: bool = False) -> dict[str, Encoded | Array]:
    """The tensors of a file written by :func:`save`: read-only views of the file, read when they are used.

    With ``verify`` all data is read and compared to its checksums first. Raises EncodedError for a file that is
    truncated, damaged, of an unknown version or not evenbits', naming the tensor if only one is to blame.
    """
    entries, _ = read(path)
    if verify:
        require_intact(path, entries)
    return {name: entry.value() for name, entry in entries.items()}


def require_intact(path: Path, entries: Mapping[str, Entry]) -> None:
    """Raise EncodedError that names the first tensor whose data do not match their checksum."""
    for entry in entries.values():
        for name in entry.damaged():
            raise EncodedError(f"{os.fspath(path)} is damaged: the data of {name} does not match its checksum")


def verify(path: Path) -> Verification:
    """Read all data of a file written by :func:`save` and compare it to the checksums.

    The answer's ``ok`` is whether all match; ``damaged`` names the tensors that don't. Raises EncodedError where the
    file can't be opened at all, as :func:`load` does.
    """
    entries, _ = read(path)
    tensors = {name: tensor for entry in entries.values() for name, tensor in entry.tensors().items()}
    damaged = tuple(name for entry in entries.values() for name in entry.damaged())
    if not damaged:
        for entry in entries.values():
            entry.value()
    certified = sum(entry.spec is not None and ERRORS in entry.planes for entry in entries.values())
    return Verification(os.fspath(path), len(entries), len(tensors), sum(t.nbytes for t in tensors.values()), damaged, certified)


def read(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """The entries of a container, their data still on the disk, and the metadata that is not evenbits' own."""
    name = os.fspath(path)
    tensors, metadata = open_file(path)
    if KEY not in metadata:
        raise EncodedError(
            f"{name} was not written by evenbits: quantize it first (evenbits quantize), "
            "or read it with safetensors.numpy.load_file"
        )
    others = {key: value for key, value in metadata.items() if key != KEY}
    try:
        head = json.loads(metadata[KEY])
        if not isinstance(head, dict):
            raise ValueError("no JSON object")
    except (ValueError, RecursionError) as error:
        raise EncodedError(f"{name} is damaged: its metadata cannot be read: {error}") from None
    if head.get("version") != VERSION:
        found = head.get("version")
        raise EncodedError(f"{name} has version {found!r}; this evenbits reads version {VERSION}: install a newer one")
    entries = {entry.name: entry for entry in _entries(name, head, tensors)}
    unlisted = tensors.keys() - {name for entry in entries.values() for name in entry.tensors()}
    if unlisted:
        raise EncodedError(f"{name} has a tensor that evenbits did not write: {min(unlisted)}")
    if head.pop("crc32", None) != _head_checksum(head, tensors, others):
        for entry in entries.values():
            if entry.spec is not None:
                entry.encoded()  # which names the plane, if one is to blame
        raise EncodedError(f"{name} is damaged: its header does not match its checksum")
    return entries, others


def _entries(path: str, head: dict[str, Any], tensors: Mapping[str, Tensor]) -> Iterator[Entry]:
    listed = head.get("tensors")
    if not isinstance(listed, dict):
        raise EncodedError(f"{path} is damaged: its metadata lists no tensors")
    for name, item in listed.items():
        item = item if isinstance(item, dict) else {"spec": item}
        spec, sums, shape = item.get("spec"), item.get("crc32"), item.get("shape")
        if spec is None:
            sums = {"": sums}
        if not isinstance(spec, dict | None) or not isinstance(sums, dict) or not _is_shape(shape):
            raise EncodedError(f"{path} is damaged: what its metadata says of {name} makes no sense")
        planes = {}
        for plane in sums:
            full = f"{name}.{plane}" if plane else name
            if full not in tensors:
                raise EncodedError(f"{path} lacks the tensor {full}")
            planes[plane] = tensors[full]
        yield Entry(name, spec, planes, None if shape is None else tuple(shape), sums)


def _is_shape(shape: Any) -> bool:
    return shape is None or (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape))
