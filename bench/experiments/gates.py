"""What every version has to reach: distortions of d = 4096 and levels of embeddings, measured beside their marks.

    python bench/experiments/gates.py [--vectors 40]

Mean |x - x'|^2 / |x|^2, each vector by itself with a seed of its own; the four laws of distortion.py where the law should not
matter, the worst of them counting. Levels are those of the coefficients of least maximum (400 steps), beside
``evenbits.bounds.democratic_level``. Ends with an error if a mark is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from distortion import LAWS, nmse

import evenbits
from evenbits.bounds import democratic_level
from evenbits.embedding import level

D = 4096
NEAR: list[tuple[str, tuple[str, ...], str, float, dict[str, Any], float, float]] = [
    *(
        (f"{name}, {bits} bits", laws, method, bits, {}, mark, 0.02 * mark)
        for name, laws, method in (
            ("lloyd_max", ("gaussian",), "lloyd_max"),
            ("near_democratic", ("gaussian",), "near_democratic"),
        )
        for bits, mark in ((2, 0.1175), (3, 0.03455), (4, 0.0095))
    ),
    ("kashin as published, 2 + 2 bits", ("gaussian",), "kashin", 4, {"refine": False, "second": 4}, 0.0165, 0.001),
]
"""Name, laws, method, bits, options; a mark, and how far from it is allowed."""
BELOW: list[tuple[str, tuple[str, ...], str, float, dict[str, Any], float]] = [
    ("sign_frame, 2 bits", tuple(LAWS), "sign_frame", 2, {}, 0.085),
    ("democratic 1.1, exact, 4 bits", tuple(LAWS), "democratic", 4, {"redundancy": 1.1, "solver": "exact"}, 0.0096),
]


def distortions(vectors: int) -> Iterator[tuple[str, float, str, bool]]:
    def measured(laws: tuple[str, ...], *code: Any) -> float:
        return max(nmse(LAWS[law](np.random.default_rng(0), (vectors, D)), *code) for law in laws)

    for name, laws, method, bits, options, mark, width in NEAR:
        found = measured(laws, method, bits, options)
        yield name, found, f"{mark:g} ± {width:.2g}", abs(found - mark) <= width
    for name, laws, method, bits, options, mark in BELOW:
        found = measured(laws, method, bits, options)
        yield name, found, f"< {mark:g}", found < mark


def levels(vectors: int) -> Iterator[tuple[str, float, str, bool]]:
    for redundancy in (1.1, 1.25, 2):
        d = int(D / redundancy)  # so that the frame has 4096 columns
        x = np.random.default_rng(0).standard_normal((vectors, d)).astype(np.float32)
        a = evenbits.democratic_embedding(x, redundancy=D / d, seed=0, solver="exact", iterations=400)
        found, theory = float(level(a, x).mean()), democratic_level(D / d)
        yield f"level at redundancy {redundancy:g}", found, f"{theory:.4f} ± 3 %", abs(found / theory - 1) <= 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=40)
    vectors = parser.parse_args().vectors
    print(f"evenbits {evenbits.__version__}: {vectors} vectors of {D}, seed 0\n\n| | measured | mark | |\n|---|---|---|---|")
    missed = 0
    for rows in (distortions(vectors), levels(min(vectors, 10))):
        for name, found, mark, reached in rows:
            print(f"| {name} | {found:.4g} | {mark} | {'reached' if reached else 'MISSED'} |", flush=True)
            missed += not reached
    if missed:
        sys.exit(f"{missed} missed")


if __name__ == "__main__":
    main()
