"""A model file in, a file of codes out; and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from evenbits import container
from evenbits._arrays import Array, as_floats, require_finite
from evenbits._tensorfile import Path, Tensor, write_file
from evenbits.encoded import ERRORS, Encoded
from evenbits.models.plan import RESERVE, Plan, Rate, fairer, head_bytes, make_plan, own_shape, parse_budget, rows_of
from evenbits.models.read import Model, open_model
from evenbits.models.report import Report, Row
from evenbits.quantizers.base import Quantizer, flag

SUFFIXES = (".safetensors", ".npz", ".pt", ".pth", ".bin")
Progress = Callable[[int, int, str], None]
SHORT = 1.01
"""Where a tensor's share of a budget is so many times what it got, all are encoded once more."""


def default_output(path: Path) -> str:
    """``model.evenbits.safetensors`` beside ``model.safetensors``."""
    stem, suffix = os.path.splitext(os.fspath(path))
    return f"{stem if suffix in SUFFIXES else os.fspath(path)}.evenbits.safetensors"


def quantize_model(
    path: Path,
    output: Path | None = None,
    *,
    bits: Rate | None = None,
    budget: Rate | str | None = None,
    method: str = "near_democratic",
    seed: int = 0,
    workers: int = 1,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    certificate: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Report:
    """Quantize the matrices of a model file, one at a time, and write all tensors to ``output``.

    ``bits`` (4 if nothing is given) is the width of a code; ``budget`` a ceiling on the bits a value with all side
    information, or on the size of the file ("12MB"), which entropy_trellis takes to the last thousandth. ``include`` and
    ``exclude`` are shell patterns of tensor names. ``certificate``: codes come with a bound on the error of every row, see
    ``Encoded.certified``. ``progress(done, total, name)`` hears of values. Raises ValueError, TypeError or OSError, and leaves
    no file then.
    """
    if bits is not None and budget is not None:
        raise ValueError("bits and budget are both given; give one")
    model, certificate = open_model(path), flag(certificate, "certificate")
    output = default_output(path) if output is None else output
    if container.KEY in model.metadata:
        raise ValueError(f"{model.path} is quantized already; quantize the original, or decode it first")
    _check_output(output, path, overwrite)
    ceiling = None if budget is None else parse_budget(budget)
    plan = make_plan(
        model,
        method=method,
        bits=(4 if bits is None else bits) if ceiling is None else None,
        budget=ceiling,
        seed=seed,
        include=include,
        exclude=exclude,
        certificate=certificate,
        options=options,
    )
    encode = partial(_encode_all, model, certificate=certificate, workers=workers, progress=progress)
    entries, rows, spare = encode(plan)
    if ceiling and any(quantizer.fills for quantizer in plan.quantizers.values()):
        fair = fairer(plan, model, entries, spare)
        if any(entry.nbytes * SHORT < fair.ceilings.get(entry.name, 0) for entry in entries):
            again = encode(fair)
            fits = ceiling.size is None or container.file_size(again[0], metadata=model.metadata) <= ceiling.size
            if fits and again[2] >= 0 and _squares(again[1]) < _squares(rows):
                entries, rows, spare = again
    if progress:
        total = sum(model.tensors[name].size for name in plan.quantizers)
        progress(total, total, os.fspath(output))
    if ceiling and ceiling.bits is not None and spare < 0:  # by what was taken instead, whose rows are shorter
        raise ValueError(f"budget is {ceiling}; certificates take more than was foreseen: take more bits")
    size = container.write(output, entries, metadata=model.metadata, limit=ceiling.size if ceiling else None)
    return Report(
        os.fspath(path), os.fspath(output), method, float(plan.bits), str(ceiling) if ceiling else None, seed, options,
        tuple(rows), size,
    )  # fmt: skip


def _encode_all(
    model: Model, plan: Plan, *, certificate: bool, workers: int, progress: Progress | None
) -> tuple[list[container.Entry], list[Row], int]:
    """All tensors, and how many bytes are left."""
    entries: list[container.Entry] = []
    rows: list[Row] = []
    done, total = 0, sum(model.tensors[name].size for name in plan.quantizers)
    spare = plan.spare
    for name, tensor in model.tensors.items():
        if name in plan.kept:
            entries.append(container.entry_of(name, tensor))
            rows.append(Row(name, tensor.shape, tensor.dtype_name, tensor.nbytes, tensor.nbytes, plan.kept[name]))
            continue
        if progress:
            progress(done, total, name)
        quantizer = plan.quantizers[name]
        if quantizer.fills and plan.ceilings:  # what others have left is shared among the tensors yet to come
            longer = max(0, len(tensor.dtype_name) - len("float32"))  # bfloat16 comes as float32
            besides = longer + (quantizer.certificate_bytes(rows_of(tensor.shape)) if certificate else 0)
            quantizer.allowed = plan.ceilings[name] + spare * tensor.size // (total - done) - besides
        heard = None if progress is None else partial(_heard, progress, name, done, total)
        entry, row = _encode(name, tensor, quantizer, certificate, workers, heard)
        spare += plan.ceilings.get(name, row.after) - row.after
        if name in plan.heads:
            spare += max(0, plan.heads[name] - head_bytes(entry) - RESERVE)
        entries.append(entry)
        rows.append(row)
        done += tensor.size
    return entries, rows, spare


def _squares(rows: list[Row]) -> float:
    """The squared error of all tensors."""
    return sum((row.error * row.norm) ** 2 for row in rows if row.error is not None)


def _heard(progress: Progress, name: str, before: int, total: int, done: int, size: int) -> None:
    """Of a tensor's values so many are done, after those of others before it."""
    progress(before + done, total, name)


def _encode(
    name: str,
    tensor: Tensor,
    quantizer: Quantizer,
    certificate: bool,
    workers: int,
    heard: Callable[[int, int], None] | None,
) -> tuple[container.Entry, Row]:
    x = tensor.floats()
    rows = x.reshape(rows_of(tensor.shape))
    options: dict[str, Any] = {"progress": heard} if heard and quantizer.reports() else {}
    try:
        encoded = quantizer.encode(rows, workers=workers, **options)
    except ValueError as error:
        require_finite(as_floats(x), name)
        raise ValueError(f"{name}: {error}") from None
    encoded = Encoded(encoded.planes, encoded.spec | {"dtype": tensor.dtype_name})  # bfloat16 came as float32
    if certificate:
        encoded = encoded.certified(rows)
    row = Row(
        name, tensor.shape, tensor.dtype_name, tensor.nbytes, encoded.nbytes,
        method=encoded.method, bits=float(quantizer.bits), error=encoded.error(rows), norm=_norm(x),
    )  # fmt: skip
    return container.entry_of(name, encoded, own_shape(tensor)), row


def _norm(x: Array) -> float:
    flat = x.reshape(-1)
    return float(np.sqrt(np.einsum("i,i->", flat, flat, dtype=np.float64)))


def decode_model(
    path: Path, output: Path, *, bits: float | None = None, workers: int = 1, overwrite: bool = False
) -> list[Row]:
    """Decode a file of codes to an ordinary safetensors file with the dtypes and shapes of the model it came from.

    bits: of each tensor's codes the first so many a value, see ``Encoded.cut``. All checksums are compared first. Raises
    EncodedError for a damaged file, ValueError where codes cannot be cut.
    """
    entries, metadata = container.read(path)
    _check_output(output, path, overwrite)
    container.require_intact(path, entries)
    tensors = {name: entry.decoded(workers=workers, bits=bits) for name, entry in entries.items()}
    write_file(output, tensors, lambda _: metadata)
    return [
        Row(name, tensor.shape, tensor.dtype_name, entries[name].nbytes, tensor.nbytes)
        for name, tensor in tensors.items()
    ]


def inspect_model(path: Path) -> list[Row]:
    """The tensors of a model file or a file of codes (rows with a method), from its header and certificates."""
    model = open_model(path)
    if container.KEY not in model.metadata:
        return [Row(name, t.shape, t.dtype_name, t.nbytes, t.nbytes) for name, t in model.tensors.items()]
    rows = []
    for name, entry in container.read(path)[0].items():
        tensor = entry.decoded()
        encoded = entry.encoded() if entry.spec else None
        rows.append(
            Row(
                name, tensor.shape, tensor.dtype_name, tensor.nbytes, entry.nbytes,
                method=encoded.method if encoded else None, certified=certified_norm(encoded) if encoded else None,
            )
        )  # fmt: skip
    return rows


def certified_norm(encoded: Encoded) -> float | None:
    """A bound of |x - decode|, all rows together, by its certificate; None without one."""
    if ERRORS not in encoded.planes:
        return None
    errors = encoded.certified_error().astype(np.float64)
    return float(np.sqrt(np.square(errors).sum()) * (1 + 2.0**-30))


def _check_output(output: Path, path: Path, overwrite: bool) -> None:
    """Refuse before the work what would fail after it."""
    name = os.fspath(output)
    if os.path.exists(output):
        if os.path.isdir(output):
            raise IsADirectoryError(f"{name} is a directory; name a file in it")
        if os.path.samefile(output, path):
            raise ValueError(f"{name} is the input; name another output")
        if not overwrite:
            raise FileExistsError(f"{name} exists already; allow to replace it (--force, overwrite=True)")
    elif not os.path.isdir(os.path.dirname(os.path.realpath(output))):
        raise FileNotFoundError(f"{name} would lie in a directory that does not exist; create it first")
