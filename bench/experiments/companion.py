"""Figure 1a of arXiv 2103.07578 (compression of Gaussian-cubed vectors), with bits counted as there and with all of them.

    python bench/experiments/companion.py [--vectors 50] [--plot FILE]

x = randn^3 of 1,000 values; mean |x - x'|^2 / |x|^2 of stochastic codes of x itself and of its coefficients: near-democratic
ones by a Hadamard matrix of 1024 or a dense orthonormal one of 1000, democratic ones of redundancy 1.5, by the authors'
parameters and by this library's. "Top half" keeps the 500 largest values alone: their places take log2 C(1000, 500) bits, 995,
which are counted, and the other bits code the 500 values as a vector of its own. The authors' program rounds |y| to a grid of
2^b levels, b bits, and keeps the sign apart without counting it: 2^(b + 1) - 1 levels for b bits. Their points are repeated
here on that grid; all other rows count every bit of a code. A scale a vector is counted by neither (32 bits, .032 a value),
nor are the levels of k-means, one set for all vectors. Coefficients without a bit are 0.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import evenbits
from evenbits.embedding import Frame

LENGTH, KEPT = 1000, 500
PLACES = math.log2(math.comb(LENGTH, KEPT))
RATES = [1.1, 1.5, 2.1, 3.1, 4.1, 6.1, 7.9]
STOCHASTIC = {"rounding": "stochastic", "fit": "unbiased"}

Code = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""Rows, bits a value, random numbers -> the decoded rows."""
Embed = Callable[[np.ndarray, Callable[[np.ndarray], np.ndarray]], np.ndarray]
"""Rows, a code of coefficients -> the decoded rows."""


def direct(x: np.ndarray, code: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return code(x)


def hadamard(x: np.ndarray, code: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    wide = np.zeros((len(x), 1 << (x.shape[1] - 1).bit_length()), np.float32)
    wide[:, : x.shape[1]] = x
    y = code(evenbits.randomized_hadamard(wide, seed=1)).astype(np.float32)
    return evenbits.inverse_randomized_hadamard(y, seed=1)[:, : x.shape[1]]


def orthonormal(x: np.ndarray, code: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(2).standard_normal((x.shape[1], x.shape[1])))[0]
    return code(x @ q) @ q.T


def democratic(x: np.ndarray, code: Callable[[np.ndarray], np.ndarray], **solver: Any) -> np.ndarray:
    frame = Frame.of_redundancy(x.shape[1], 1.5, 3)
    a = evenbits.democratic_embedding(x.astype(np.float32), redundancy=1.5, seed=3, **solver)
    return frame.synthesise(np.ascontiguousarray(code(a), np.float32))


def authors_democratic(x: np.ndarray, code: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    mu = 0.5
    level = 4 * math.sqrt(math.log(1 / mu)) / (mu**2 * math.sqrt(0.3))
    eta, delta = 1 - mu / 4, 0.3 * mu**2 / math.log(1 / mu)
    steps = math.ceil(math.log(math.sqrt(1.5 * x.shape[1]) / level) / math.log(1 / eta))
    return democratic(x, code, eta=eta, delta=delta, iterations=max(1, steps), closing=False)


def sign_apart(y: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Their quantizer: floor or ceiling of the budget for each coordinate, at random, and a sign for nothing."""
    n = y.shape[1]
    bits = np.full(n, total // n)
    bits[rng.permutation(n)[: total - n * (total // n)]] += 1
    steps = 2.0 ** np.maximum(bits, 1) - 1
    peak = np.abs(y).max(axis=1, keepdims=True)
    magnitude = np.floor(np.abs(y) / peak * steps + rng.random(y.shape))
    return np.where(bits > 0, np.sign(y) * np.minimum(magnitude, steps) / steps, 0) * peak


def theirs(embed: Embed) -> Code:
    return lambda x, rate, rng: embed(x, lambda y: sign_apart(y, int(rate * x.shape[1]), rng))


def counted(embed: Embed) -> Code:
    """The same embedding with a code that counts all its bits."""

    def code(x: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
        return embed(x, lambda y: evenbits.quantize(y, rate * x.shape[1] / y.shape[1], "uniform", **STOCHASTIC).decode())

    return code


def library(method: str, **options: Any) -> Code:
    return lambda x, rate, rng: evenbits.quantize(x, rate, method, **options).decode()


def top_half(code: Code) -> Code:
    def sparse(x: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
        places = np.sort(np.argpartition(-np.abs(x), KEPT - 1, axis=1)[:, :KEPT], axis=1)
        values = code(np.take_along_axis(x, places, 1), round((rate * LENGTH - PLACES) / KEPT, 3), rng)
        y = np.zeros_like(x)
        np.put_along_axis(y, places, values, 1)
        return y

    return sparse


EMBEDDINGS: dict[str, Embed] = {
    "direct": direct,
    "near-democratic, Hadamard": hadamard,
    "near-democratic, orthonormal": orthonormal,
    "democratic 1.5, their parameters": authors_democratic,
}
CODES: dict[str, Code] = {
    **{f"their count: {name}": theirs(embed) for name, embed in EMBEDDINGS.items()},
    **{f"their count: {name}, top half": top_half(theirs(embed)) for name, embed in EMBEDDINGS.items()},
    **{f"{name}, stochastic": counted(embed) for name, embed in EMBEDDINGS.items()},
    "democratic 1.25, stochastic": library("democratic", **STOCHASTIC),
    "democratic 1.5, stochastic": library("democratic", redundancy=1.5, **STOCHASTIC),
    **{f"{name}, stochastic, top half": top_half(counted(embed)) for name, embed in EMBEDDINGS.items()},
    "democratic 1.5, stochastic, top half": top_half(library("democratic", redundancy=1.5, **STOCHASTIC)),
    "near_democratic, unbiased scale": library("near_democratic", fit="unbiased"),
    "near_democratic": library("near_democratic"),
    "near_democratic, top half": top_half(library("near_democratic")),
    "democratic 1.25": library("democratic"),
    "lloyd_max, k-means": library("lloyd_max", law="empirical"),
    "sign_frame": library("sign_frame"),
}


def error(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(((x - y) ** 2).sum(axis=1) / (x**2).sum(axis=1)))


def table(vectors: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((vectors, LENGTH)) ** 3
    return {name: [error(x, code(x, rate, rng)) for rate in RATES] for name, code in CODES.items()}


def plot(rows: dict[str, list[float]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {
        "bits as in the paper": [name for name in rows if name.startswith("their")],
        "all bits counted": [name for name in rows if not name.startswith("their") and "stochastic" in name],
        "all bits counted, not stochastic": [name for name in rows if not name.startswith("their") and "stochastic" not in name],
    }
    figure, axes = plt.subplots(1, 3, figsize=(18, 6), sharey=True, layout="constrained")
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for i, name in enumerate(names):
            axis.semilogy(
                RATES,
                rows[name],
                "s:" if "top half" in name else "o-",
                color=f"C{i % 10}",
                label=name.removeprefix("their count: "),
                markersize=4,
            )
        axis.semilogy(RATES, [4.0**-r for r in RATES], "k--", label="limit (Gaussian)")
        axis.set(title=title, xlabel="bits a value")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0].set_ylabel("|x − x'|² / |x|²")
    figure.savefig(path, dpi=90)


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
