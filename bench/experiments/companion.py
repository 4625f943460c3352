"""Figure 1a of arXiv 2103.07578 (compression of Gaussian-cubed vectors), with bits counted as there and with all of them.

    python bench/experiments/companion.py [--vectors 50] [--plot FILE]

x = randn^3 of 1,000 values; mean |x - x'|^2 / |x|^2 of stochastic (unbiased) codes, and of the nearest ones beside them. The
authors' program rounds |y| to a grid of 2^b levels, b bits, and keeps the sign apart without counting it: 2^(b + 1) - 1 levels
for b bits. Their points are repeated here on that grid; all other rows count every bit of a code. A scale a vector is counted by
neither (32 bits, .032 a value).
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import evenbits

LENGTH, PADDED = 1000, 1024
RATES = [1.1, 1.5, 2.1, 3.1, 4.1, 6.1, 7.9]
STOCHASTIC = {"rounding": "stochastic", "fit": "unbiased"}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform, stochastic": ("uniform", STOCHASTIC),
    "near_democratic, stochastic": ("near_democratic", STOCHASTIC),
    "democratic 1.25, stochastic": ("democratic", STOCHASTIC),
    "democratic 1.5, stochastic": ("democratic", {"redundancy": 1.5, **STOCHASTIC}),
    "near_democratic, unbiased scale": ("near_democratic", {"fit": "unbiased"}),
    "near_democratic": ("near_democratic", {}),
    "democratic 1.25": ("democratic", {}),
}


def sign_apart(y: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Their quantizer: floor or ceiling of the budget for each coordinate, at random, and a sign for nothing."""
    n = y.shape[1]
    total = int(rate * LENGTH)
    bits = np.full(n, total // n)
    bits[rng.permutation(n)[: total - n * (total // n)]] += 1
    steps = 2.0 ** np.maximum(bits, 1) - 1
    peak = np.abs(y).max(axis=1, keepdims=True)
    magnitude = np.floor(np.abs(y) / peak * steps + rng.random(y.shape))
    return np.where(bits > 0, np.sign(y) * np.minimum(magnitude, steps) / steps, 0) * peak


def error(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(((x - y) ** 2).sum(axis=1) / (x**2).sum(axis=1)))


def rotated(x: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    wide = np.zeros((len(x), PADDED), np.float32)
    wide[:, :LENGTH] = x
    y = sign_apart(evenbits.randomized_hadamard(wide, seed=1), rate, rng).astype(np.float32)
    return evenbits.inverse_randomized_hadamard(y, seed=1)[:, :LENGTH]


def table(vectors: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((vectors, LENGTH)) ** 3
    rows = {
        "their count: direct": [error(x, sign_apart(x, r, rng)) for r in RATES],
        "their count: near-democratic": [error(x, rotated(x, r, rng)) for r in RATES],
    }
    for name, (method, options) in METHODS.items():
        rows[name] = [error(x, evenbits.quantize(x, r, method, **options).decode()) for r in RATES]
    return rows


def plot(rows: dict[str, list[float]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 5), layout="constrained")
    for name, values in rows.items():
        axis.semilogy(RATES, values, ":" if name.startswith("their") else "o-", label=name, markersize=4)
    axis.semilogy(RATES, [4.0**-r for r in RATES], "k--", label="limit (Gaussian)")
    axis.set(xlabel="bits a value", ylabel="|x − x'|² / |x|²")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=50)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    rows = table(arguments.vectors)
    print(f"evenbits {evenbits.__version__}: {arguments.vectors} vectors of {LENGTH}, Gaussian cubed\n")
    print("| | " + " | ".join(f"{r:g}" for r in RATES) + " |\n|---|" + "---|" * len(RATES))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.3g}" for v in values) + " |")
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
