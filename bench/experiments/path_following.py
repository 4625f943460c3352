"""Path-following quantization of single layers: error on calibration rows and on fresh ones, beside nearest rounding and laws.

    python bench/experiments/path_following.py [--tables N ...] [--quick] [--plot FILE]

Errors are |X W^T - X Q^T| / |X W^T|, W of 64 Gaussian neurons.
  1  Gaussian data, infinite alphabet of step 1/2: error against N / m, inputs a calibration row, and the law of it
  2  the same with 2^b - 1 levels, the clipping level of least error for each method
  3  data of a kind: isotropic, ReLU of a random layer, rank 32 with 5 % noise; 2^b + 1 levels, as the papers count b bits
  4  quantized inputs that differ by 10 %: error against the number of alignment sweeps, and the linear program
  5  order of columns that are correlated and of different size
Table 6, a network of digits, is ``networks.py mlp``.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np

from evenbits import decode
from evenbits.path_following import Calibration
from evenbits.quantizers.error_feedback import Nearest
from evenbits.quantizers.path_following import PathFollowing

METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "RTN": (Nearest, {}),
    "GPFQ": (PathFollowing, {}),
    "SPFQ": (PathFollowing, {"rounding": "stochastic"}),
}
INFINITE = {"alphabet": "infinite", "step": 0.5}
NEURONS = 64


def relative(x: np.ndarray, w: np.ndarray, y: np.ndarray, q: np.ndarray) -> float:
    full = x @ w.T
    return float(np.linalg.norm(full - y @ q.T) / np.linalg.norm(full))


def coded(kind: Any, w: np.ndarray, data: Calibration, bits: Any = None, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # fresh errors are what is shown
        values: np.ndarray = decode(kind(bits, portable=False, **options).encode(w, data))
    return values


def calibration(x: np.ndarray, y: np.ndarray | None = None) -> Calibration:
    return Calibration(held_out=0, portable=False).update(x, y)


def best(kind: Any, w: np.ndarray, x: np.ndarray, fresh: np.ndarray, bits: Any, **options: Any) -> tuple[float, float]:
    """The least error on calibration rows over clipping levels, and what it is on fresh ones there."""
    data, found = calibration(x), (np.inf, np.inf)
    for clip in np.arange(3, 25) / 16:
        q = coded(kind, w, data, bits, clip=float(clip), radius="mean_maximum", **options)
        error = relative(x, w, x, q)
        if error < found[0]:
            found = error, relative(fresh, w, fresh, q)
    return found


def law(m: int, n: int) -> float:
    """(GPFQ / RTN)^2 on isotropic data, with an infinite alphabet."""
    return float(m / n * (1 - (1 - 1 / m) ** n))


def table(head: list[str], rows: list[list[Any]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(cell if isinstance(cell, str) else f'{cell:.4f}' for cell in row)} |", flush=True)
    print()


def parametrization(quick: bool) -> list[list[Any]]:
    """Table 1."""
    m, rows = 128, []
    for ratio in (0.25, 0.5, 1, 2, 4, 8) if quick else (0.25, 0.5, 1, 2, 4, 8, 16, 32):
        n, errors = int(m * ratio), []
        for seed in range(1 if quick else 4 if ratio < 8 else 2):
            rng = np.random.default_rng(seed)
            x, w, fresh = rng.standard_normal((m, n)), rng.standard_normal((NEURONS, n)), rng.standard_normal((4 * m, n))
            data = calibration(x)
            codes = [coded(kind, w, data, **INFINITE, **own, seed=seed) for kind, own in METHODS.values()]
            errors.append([relative(z, w, z, q) for z in (x, fresh) for q in codes])
        e = np.sqrt(np.mean(np.square(errors), axis=0))
        rows.append([f"{ratio:g}", *e[:3], e[1] / e[0], law(m, n) ** 0.5, e[2] / e[1], *e[3:], e[4] / e[3], e[5] / e[3]])
    head = ["N / m", "RTN", "GPFQ", "SPFQ", "GPFQ / RTN", "law", "SPFQ / GPFQ", "fresh RTN", "fresh GPFQ", "fresh SPFQ"]
    table([*head, "GPFQ / RTN fresh", "SPFQ / RTN fresh"], rows)
    return rows


def alphabets(quick: bool) -> None:
    """Table 2."""
    m, rows = 128, []
    for ratio in (0.5, 4) if quick else (0.5, 1, 4, 16):
        rng = np.random.default_rng(11)
        n = int(m * ratio)
        x, w = rng.standard_normal((m, n)), rng.standard_normal((NEURONS, n))
        rows.append([f"{ratio:g}"] + [best(kind, w, x, x, b, **own)[0] for b in (2, 3, 4) for kind, own in METHODS.values()])
    table(["N / m", *(f"{b} bits {name}" for b in (2, 3, 4) for name in METHODS)], rows)


def kinds(quick: bool) -> None:
    """Table 3."""
    m, n, rows = 256, 256 if quick else 1024, []
    rng = np.random.default_rng(2)
    w = rng.standard_normal((NEURONS, n))
    layer, basis = rng.standard_normal((n, n)) / np.sqrt(n), rng.standard_normal((32, n)) / np.sqrt(32)
    makers = {
        "isotropic": lambda rows: rng.standard_normal((rows, n)),
        "ReLU": lambda rows: np.maximum(rng.standard_normal((rows, n)) @ layer, 0),
        "rank 32": lambda rows: rng.standard_normal((rows, 32)) @ basis + 0.05 * rng.standard_normal((rows, n)),
    }
    for name, make in makers.items():
        x, fresh = make(m), make(1024)
        for b in (2, 4):
            found = [best(kind, w, x, fresh, b, alphabet="mid_tread", **own) for kind, own in METHODS.values()]
            rows.append([name, str(b), *(error for pair in found for error in pair)])
    table(["data", "bits", *(f"{name}{where}" for name in METHODS for where in ("", ", fresh"))], rows)


def alignment(quick: bool) -> None:
    """Table 4."""
    rows = []
    for m, n in ((256, 512),) if quick else ((256, 512), (1024, 512)):
        rng = np.random.default_rng(4)
        x, w = rng.standard_normal((m, n)), rng.standard_normal((NEURONS, n))
        y = x + 0.1 * rng.standard_normal((m, n))
        data = calibration(x, y)
        errors = [relative(x, w, y, coded(PathFollowing, w, data, **INFINITE, order=order)) for order in (1, 2, 4, 8)]
        rows.append([f"m = {m}, N = {n}", *errors])
    table(["GPFQ, sweeps", "1", "2", "4", "8"], rows)
    rng = np.random.default_rng(11)
    x, w = rng.standard_normal((64, 256)), rng.standard_normal((4, 256))
    y = x + 0.1 * rng.standard_normal((64, 256))
    rows = []
    for order in (1, 2, 4, "perfect"):
        options: dict[str, Any] = {"alphabet": "infinite", "step": 0.25, "order": order, "rounding": "stochastic", "held_out": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            q = decode(PathFollowing(**options).encode(w, x, y))
        rows.append([str(order), relative(x, w, y, q), str(int(np.rint(np.abs(q).max() / 0.25)))])
    table(["SPFQ, m = 64, N = 256, step 1/4, sweeps", "error", "greatest code"], rows)


def orders(quick: bool) -> None:
    """Table 5."""
    m, n = 512, 256
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    x = rng.standard_normal((m, n)) * np.arange(1, n + 1) ** -0.5 @ basis.T * np.exp(rng.standard_normal(n))
    w = rng.standard_normal((NEURONS, n))
    size = np.linalg.norm(x, axis=0)
    ways = {
        "natural": np.arange(n), "falling norm": np.argsort(-size), "rising norm": np.argsort(size), "random": rng.permutation(n),
    }  # fmt: skip
    rows = []
    for name, order in ways.items():
        data = calibration(x[:, order])
        options = {"bits": 3, "alphabet": "mid_tread", "clip": 0.8, "radius": "mean_maximum"}
        rows.append([name, *(relative(x[:, order], w[:, order], x[:, order], coded(kind, w[:, order], data, **options, **own))
                             for kind, own in METHODS.values())])  # fmt: skip
    table(["columns", *METHODS], rows)


TABLES = {1: parametrization, 2: alphabets, 3: kinds, 4: alignment, 5: orders}


def plot(rows: list[list[Any]], path: str) -> None:
    import matplotlib.pyplot as plt

    ratio = [float(row[0]) for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axes, first, title in ((left, 1, "calibration rows"), (right, 7, "fresh rows")):
        for k, (name, colour) in enumerate(zip(METHODS, ("black", "tab:blue", "tab:orange"), strict=True)):
            axes.loglog(ratio, [row[first + k] for row in rows], "o-", color=colour, label=name, markersize=4)
        axes.set(title=title, xlabel="inputs a calibration row, N / m")
        axes.grid(alpha=0.3, which="both")
    left.loglog(ratio, [row[1] * row[5] for row in rows], ":", color="tab:blue", label="law")
    left.loglog(ratio, [row[1] * row[5] * 2**0.5 for row in rows], ":", color="tab:orange")
    for k, factor in ((0, 2**0.5), (1, 2.0)):
        right.loglog(ratio, [row[7] * factor for row in rows], ":", color=("tab:blue", "tab:orange")[k])
    left.set_ylabel("relative error of outputs")
    left.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", type=int, default=list(TABLES), choices=TABLES, metavar="N")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases")
    parser.add_argument("--plot", metavar="FILE", help="save a picture of table 1 (matplotlib)")
    arguments = parser.parse_args()
    for number in arguments.tables:
        print(f"{number}  {(TABLES[number].__doc__ or '').strip()}\n")
        rows = TABLES[number](arguments.quick)
        if number == 1 and arguments.plot:
            plot(rows, arguments.plot)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
