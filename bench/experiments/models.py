"""Model files at few bits: the ways that are compared, and what the command ``evenbits`` makes of a file by each of them."""

from __future__ import annotations

import hashlib
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from command import run
from kept import Kept
from safetensors.torch import load_file

Weights = dict[str, torch.Tensor]


def options(method: str, *choices: str) -> tuple[str, ...]:
    return (f"--method={method}", *(f"--option={c}" for c in choices))


WAYS: dict[str, tuple[str, ...]] = {
    "uniform": options("uniform"),
    "uniform, mid-rise": options("uniform", "grid=mid_rise"),
    "uniform, min-max": options("uniform", "range=min_max"),
    "uniform, 32 a scale": options("uniform", "per=32"),
    "uniform, min-max, 32 a scale": options("uniform", "range=min_max", "per=32"),
    "lloyd_max": options("lloyd_max"),
    "near_democratic": options("near_democratic"),
    "democratic": options("democratic"),
}
"""Compared at equal ``--bits``, index bits a value."""

CLIPPED = ("grid=mid_rise", "range=optimal")
EQUAL_TOTAL: dict[str, tuple[str, ...]] = {
    name: (*arguments, "--option=scale_dtype=float16")
    for name, arguments in {
        "uniform, 32 a scale": options("uniform", "per=32", "range=min_max"),
        "uniform, 64 a scale": options("uniform", "per=64", "range=min_max"),
        "uniform, 32 a scale, clipped": options("uniform", "per=32", *CLIPPED),
        "uniform, 64 a scale, clipped": options("uniform", "per=64", *CLIPPED),
        "lloyd_max": options("lloyd_max"),
        "lloyd_max, k-means": options("lloyd_max", "law=empirical"),
        "near_democratic": options("near_democratic"),
        "democratic 1.05, exact": options("democratic", "redundancy=1.05", "solver=exact"),
        "kashin, greedy and joint (2024)": options("kashin", "refine=False", "schedule=greedy", "clusters=joint", "rotate=False"),
        "kashin, alternating (2026)": options("kashin", "refine=False"),
        "kashin": options("kashin"),
        "sign_frame": options("sign_frame"),
        "trellis": options("trellis"),
        "trellis, memory 16": options("trellis", "memory=16"),
    }.items()
} | {
    "entropy_trellis, 8 states": options("entropy_trellis", "states=8"),
    "entropy_trellis, 8 states, not rotated": options("entropy_trellis", "states=8", "rotate=False"),
    "entropy_trellis, 128 states": options("entropy_trellis", "states=128"),
    "entropy_trellis, 128 states, not rotated": options("entropy_trellis", "states=128", "rotate=False"),
    "dead_zone": options("dead_zone"),
}
"""Compared at equal ``--budget``: bits a value of everything stored, scales, tables and specs included."""

SHOWN = (
    "entropy_trellis, 8 states",
    "entropy_trellis, 8 states, not rotated",
    "trellis",
    "dead_zone",
    "kashin",
    "sign_frame",
    "near_democratic",
    "lloyd_max",
    "kashin, alternating (2026)",
    "uniform, 64 a scale, clipped",
    "uniform, 64 a scale",
    "uniform, 32 a scale",
)
"""Of these the lines of pictures, as far as they were run."""


class Case(NamedTuple):
    name: str
    rate: str
    arguments: tuple[str, ...]
    measure: str = "--bits"

    def choices(self, seed: int) -> tuple[str, ...]:
        """What the command is told."""
        return (self.measure, self.rate, *self.arguments, f"--seed={seed}")


def measure(model: Path, case: Case, arguments: Namespace, folder: Path) -> tuple[dict[str, Any], Weights]:
    """Quantize and decode by the command: what it says and takes (least of some runs), and the decoded weights."""
    codes, floats = folder / "codes.safetensors", folder / "floats.safetensors"
    choices = case.choices(arguments.seed)
    common = ("--force", f"--workers={arguments.workers}", "--output")
    measured = [run("quantize", str(model), *choices, *common, str(codes)) for _ in range(arguments.runs)]
    decoded = [run("decode", str(codes), *common, str(floats)) for _ in range(arguments.runs)]
    report = measured[0].report
    total, methods = report["total"], [tensor["method"] for tensor in report["tensors"] if tensor["method"]]
    return {
        "method": case.name,
        "bits": float(report["bits"]),
        "arguments": choices,
        "values": total["quantized_values"],
        "other_methods": len(methods) - methods.count(report["method"]),  # of tensors that kashin has left to its fallback
        "bits_per_value": total["bits_per_value"],
        "reported_error": total["error"],
        "bytes": codes.stat().st_size,
        "sha256": sha256(codes),
        "seconds": min(r.seconds for r in measured),
        "cpu_seconds": min(r.cpu for r in measured),
        "peak_bytes": min(r.peak for r in measured),
        "decode_seconds": min(r.seconds for r in decoded),
        "decode_peak_bytes": min(r.peak for r in decoded),
    }, load_file(floats)


def judged(
    model: Path, full: Weights, cases: list[Case], arguments: Namespace, judge: Callable[[Weights], dict[str, float]]
) -> Iterator[dict[str, Any]]:
    """What ``measure`` says of each case, the error that the decoded weights have, and their scores."""
    kept = Kept(arguments.json)
    with tempfile.TemporaryDirectory() as folder:

        def made(case: Case) -> dict[str, Any]:
            row, decoded = measure(model, case, arguments, Path(folder))
            row["error"] = weight_error(full, decoded)
            if abs(row["error"] - row["reported_error"]) > 1e-6:
                raise AssertionError(f"{case.name}: the error is {row['error']}, the command says {row['reported_error']}")
            return row | judge(decoded)

        for case in cases:
            yield kept.row(f"{case.choices(arguments.seed)}", lambda case=case: made(case))


def weight_error(full: Weights, decoded: Weights) -> float:
    """|x - x'| / |x| over all tensors that are not the same."""
    assert {n: (w.shape, w.dtype) for n, w in full.items()} == {n: (w.shape, w.dtype) for n, w in decoded.items()}
    changed = [name for name in full if not torch.equal(full[name], decoded[name])]
    squares = [[(w**2).sum().item() for w in (full[n].double(), full[n].double() - decoded[n].double())] for n in changed]
    whole, lost = np.sum(squares, axis=0)
    return float(np.sqrt(lost / whole))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
