"""The bounds of ``evenbits.bounds`` on errors of codes, beside what the codes do on four laws.

    python bench/experiments/bounds.py [--vectors 8] [--seeds 16] [--plot FILE]

Vectors of 2048, uniform levels up to the largest coefficient, ``fit="range"``: what the theory is about. Nearest levels: the
largest |x - x'| / |x| over vectors and seeds, and K 2^-b. Stochastic rounding: the mean of |x - x'|^2 / |x|^2 over seeds, its
largest over vectors, and K^2 / (redundancy (2^b - 1)^2). b are bits a coefficient. K is the level that each vector's
coefficients have in each frame ("its level"), and what the theory says of all vectors: sqrt(d) for x itself,
2 sqrt(ln 2n) for rotated ones, the limit for coefficients of least maximum (of long vectors: an estimate that the 100 steps of
the solver exceed by 2 %). Ends with an error if a bound by a vector's own level is exceeded.
"""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from distortion import LAWS

import evenbits
from evenbits.bounds import (
    democratic_level,
    direct_level,
    near_democratic_level,
    near_democratic_tail,
    nearest_error,
    stochastic_error,
)
from evenbits.embedding import Frame, level

D = 2048
BITS = [1, 2, 3, 4, 6]
STOCHASTIC = {"rounding": "stochastic", "fit": "range"}
ABSMAX = {"levels": "uniform", "range": "absmax", "fit": "range"}


class Code(NamedTuple):
    method: str
    options: dict[str, Any]
    redundancy: float = 1.0
    solver: str | None = None

    @property
    def stochastic(self) -> bool:
        return "rounding" in self.options

    @property
    def n(self) -> int:
        return Frame.of_redundancy(D, self.redundancy, 0).n

    def level(self, x: np.ndarray, seed: int) -> np.ndarray:
        if self.method == "uniform":
            return level(x, x)
        if self.solver is None:
            return level(evenbits.randomized_hadamard(x, seed=seed), x)
        return level(evenbits.democratic_embedding(x, redundancy=self.redundancy, seed=seed, solver=self.solver), x)

    def theory(self) -> float | None:
        if self.solver == "exact":
            return democratic_level(self.n / D)
        return {"uniform": direct_level(D), "near_democratic": near_democratic_level(D)}.get(self.method)

    def bound(self, bits: int, level: float) -> float:
        r = self.n / D
        return stochastic_error(bits * r, level, r) if self.stochastic else nearest_error(bits * r, level, r)


CODES = {
    "x itself, nearest": Code("uniform", {"grid": "mid_rise"}),
    "x itself, stochastic": Code("uniform", STOCHASTIC),
    "rotated, nearest": Code("near_democratic", ABSMAX),
    "rotated, stochastic": Code("near_democratic", STOCHASTIC),
    **{
        f"redundancy {r}, {solver}, {name}": Code("democratic", {"redundancy": r, "solver": solver, **options}, r, solver)
        for r in (1.25, 2)
        for solver in ("kashin", "exact")
        for name, options in (("nearest", {"fit": "range", "grid": "mid_rise"}), ("stochastic", STOCHASTIC))
    },
}


class Cell(NamedTuple):
    measured: float
    own: float
    theory: float | None
    held: bool


def cell(code: Code, x: np.ndarray, bits: int, levels: np.ndarray) -> Cell:
    """Errors of shape (seeds, vectors), against bounds by the levels of each."""
    rate = bits if code.n == D else Fraction(bits * code.n, D)
    squares = np.empty(levels.shape)
    for seed in range(len(levels)):
        y = evenbits.quantize(x, rate, code.method, seed=seed, **code.options).decode().astype(np.float64)
        squares[seed] = ((x - y) ** 2).sum(axis=1) / (x.astype(np.float64) ** 2).sum(axis=1)
    bound = np.vectorize(code.bound)(bits, levels)
    if code.stochastic:
        squares, bound = squares.mean(axis=0), bound.mean(axis=0)
    measured = squares if code.stochastic else np.sqrt(squares)
    worst = np.unravel_index(np.argmax(measured / bound), measured.shape)
    theory = code.theory()
    whole = None if theory is None else code.bound(bits, theory)
    # a bound that can be attained, and numbers in single precision
    return Cell(float(measured[worst]), float(bound[worst]), whole, bool((measured <= bound * (1 + 1e-5)).all()))


def table(vectors: int, seeds: int) -> dict[str, dict[str, list[Cell]]]:
    result: dict[str, dict[str, list[Cell]]] = {}
    for law, draw in LAWS.items():
        x = draw(np.random.default_rng(0), (vectors, D)).astype(np.float32)
        result[law] = {}
        for name, code in CODES.items():
            levels = np.array([code.level(x, seed) for seed in range(seeds)], np.float64)
            result[law][name] = [cell(code, x, bits, levels) for bits in BITS]
    return result


def tail(vectors: int) -> None:
    """How often a rotation's level is above K, of many vectors."""
    marks = [3.5, 4.0, 4.5, near_democratic_level(D)]
    print(f"\nLevels of {vectors} rotated vectors a law: the share above K, and the bound\n")
    print("| | " + " | ".join(f"K = {k:.3g}" for k in marks) + " |\n|---|" + "---|" * len(marks))
    print("| bound | " + " | ".join(f"{near_democratic_tail(k, D):.3g}" for k in marks) + " |")
    for law, draw in LAWS.items():
        x = draw(np.random.default_rng(1), (vectors, D)).astype(np.float32)
        found = level(evenbits.randomized_hadamard(x, seed=1), x)
        print(f"| {law} | " + " | ".join(f"{np.mean(found > k):.3g}" for k in marks) + " |")


def plot(results: dict[str, dict[str, list[Cell]]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for axis, kind in zip(axes, ("nearest", "stochastic"), strict=True):
        for i, name in enumerate(name for name, code in CODES.items() if code.stochastic == (kind == "stochastic")):
            for j, rows in enumerate(results.values()):
                points = [(c.own, c.measured) for c in rows[name]]
                label = f"{name.removesuffix(', ' + kind)}" if j == 0 else None
                axis.loglog(*zip(*points, strict=True), "os^v"[j], color=f"C{i}", label=label, markersize=5, alpha=0.7)
        ends = np.array(axis.get_xlim())
        axis.loglog(ends, ends, "k--", label="measured = bound")
        axis.set(title=kind, xlabel="bound by the vector's level", ylabel="measured")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="lower right", title="circle, square, triangles: " + ", ".join(results), title_fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    results = table(arguments.vectors, arguments.seeds)
    print(f"evenbits {evenbits.__version__}: {arguments.vectors} vectors of {D}, {arguments.seeds} seeds")
    print("Measured / bound by its level / bound for all vectors, where measured is nearest to the second")
    exceeded = 0
    for law, rows in results.items():
        print(f"\n| {law} | " + " | ".join(f"b = {b}" for b in BITS) + " |\n|---|" + "---|" * len(BITS))
        for name, cells in rows.items():
            shown = (" / ".join(f"{v:.3g}" for v in (c.measured, c.own, c.theory) if v is not None) for c in cells)
            print(f"| {name} | " + " | ".join(shown) + " |")
            exceeded += sum(not c.held for c in cells)
    tail(2000)
    if arguments.plot:
        plot(results, arguments.plot)
    if exceeded:
        sys.exit(f"{exceeded} bounds exceeded")
    print("\nEvery bound held.")


if __name__ == "__main__":
    main()
