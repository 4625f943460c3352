"""What was done to each tensor, for people and for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from typing import Any


@dataclass(frozen=True)
class Row:
    """One tensor: bytes before and after; method, code rate and relative error if it was quantized, else why not.

    ``certified`` is what |x - decode| does not exceed, if there is a certificate.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    before: int
    after: int
    kept: str | None = None
    method: str | None = None
    bits: float | None = None
    error: float | None = None
    norm: float = 0.0
    certified: float | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bits_per_value(self) -> float:
        return 8 * self.after / self.size if self.size else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "method": self.method,
            "bits": self.bits,
            "bits_per_value": self.bits_per_value,
            "error": self.error,
            "kept": self.kept,
            "bytes_before": self.before,
            "bytes_after": self.after,
        }


@dataclass(frozen=True)
class Report:
    """The account of a quantized model. Errors are relative, ‖x − x̂‖ / ‖x‖; bits a value count all side information."""

    model: str
    output: str
    method: str
    bits: float
    budget: str | None
    seed: int
    options: Mapping[str, Any]
    rows: tuple[Row, ...]
    output_bytes: int

    @property
    def quantized(self) -> list[Row]:
        return [row for row in self.rows if row.method]

    @property
    def bits_per_value(self) -> float:
        """Over the quantized tensors."""
        size = sum(row.size for row in self.quantized)
        return 8 * sum(row.after for row in self.quantized) / size if size else 0.0

    @property
    def error(self) -> float:
        """Over the quantized tensors, as one vector."""
        norm = math.hypot(*(row.norm for row in self.quantized))
        return math.hypot(*((row.error or 0.0) * row.norm for row in self.quantized)) / norm if norm else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "model": self.model,
            "output": self.output,
            "method": self.method,
            "bits": self.bits,
            "budget": self.budget,
            "seed": self.seed,
            "options": dict(self.options),
            "tensors": [row.as_json() for row in self.rows],
            "total": {
                "tensors": len(self.rows),
                "quantized": len(self.quantized),
                "values": sum(row.size for row in self.rows),
                "quantized_values": sum(row.size for row in self.quantized),
                "bits_per_value": self.bits_per_value,
                "error": self.error,
                "bytes_before": sum(row.before for row in self.rows),
                "bytes_after": self.output_bytes,
            },
        }

    def text(self) -> str:
        lines = [
            [r.name, shape_text(r.shape), r.method or "", *_numbers(r), size_text(r.before), size_text(r.after)]
            for r in self.quantized
        ]
        for reason in dict.fromkeys(row.kept for row in self.rows if row.kept):
            rows = [row for row in self.rows if row.kept == reason]
            name = rows[0].name if len(rows) == 1 else f"{len(rows)} tensors"
            size = size_text(sum(row.before for row in rows))
            shape = shape_text(rows[0].shape) if len(rows) == 1 else ""
            lines.append([name, shape, f"kept: {reason}", "", "", size, size])
        before = sum(row.before for row in self.rows)
        numbers = _numbers(self) if self.quantized else ("", "")
        text = table(
            ["tensor", "shape", "method", "bits a value", "error", "before", "after"],
            lines,
            "lllrrrr",
            ["total", "", "", *numbers, size_text(before), size_text(self.output_bytes)],
        )
        ratio = before / self.output_bytes if self.output_bytes else 0.0
        return f"{text}\nwrote {self.output}: {self.output_bytes} bytes, {ratio:.2f} times smaller"


def _numbers(account: Row | Report) -> tuple[str, str]:
    return f"{account.bits_per_value:.3f}", f"{account.error or 0:.4f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str, total: Sequence[str] | None = None) -> str:
    """Text in columns, left or right (``align`` has an l or r for each)."""
    body = [list(row) for row in rows]
    every = [list(head), *body, *([list(total)] if total else [])]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, align, widths, strict=True)
        return "  ".join(text.ljust(n) if side == "l" else text.rjust(n) for text, side, n in cells).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(head), rule, *map(line, body), *([rule, line(total)] if total else [])])


def ceiling_text(value: float) -> str:
    """Four digits, rounded up."""
    return f"{float(Context(prec=4, rounding=ROUND_CEILING).create_decimal_from_float(value)):.4g}"


def shape_text(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape)) or "scalar"


def size_text(size: float) -> str:
    """Decimal units, three digits: 1.23 MB."""
    if size < 1000:
        return f"{size:.0f} B"
    unit = next((unit for unit in ("kB", "MB") if (size := size / 1000) < 999.5), None)
    size, unit = (size, unit) if unit else (size / 1000, "GB")
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f} {unit}"
