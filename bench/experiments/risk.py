"""Risk of quantized linear regression against bits, beside the bound below which no code falls, and errors of ReLU networks.

    python bench/experiments/risk.py [--trials 60] [--plot FILE]

Regression: y = X theta + v, d = 256, n = 1024, X^T X = n I, v ~ N(0, I), |theta|^2 = d with Gaussian or Gaussian-cubed
entries; the estimate E[theta | y] of the Gaussian model is quantized, and |theta' - theta|^2 / d averaged. From B* = 5 bits on
quantization costs less than the noise. The bound (``evenbits.bounds.orthogonal_risk``) is for Gaussian theta and all codes of so
many bits.
Networks: f(x) = sum_j a_j max(0, w_j x), 64 neurons, d = 256, weights Gaussian cubed, x Gaussian; mean (f - f')^2 / f^2, each
compared to its bound.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

import evenbits
from evenbits.bounds import orthogonal_risk, relu_output_error, threshold_bits

D, N = 256, 1024
BITS = [0.5, 1, 2, 3, 4, 5, 6, 8]
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform, absmax": ("uniform", {"grid": "mid_rise"}),
    "lloyd_max": ("lloyd_max", {}),
    "near_democratic, absmax": ("near_democratic", {"levels": "uniform", "range": "absmax", "fit": "range"}),
    "near_democratic, stochastic": ("near_democratic", {"rounding": "stochastic"}),
    "near_democratic": ("near_democratic", {}),
    "democratic 1.25": ("democratic", {}),
    "democratic 1.1, exact": ("democratic", {"redundancy": 1.1, "solver": "exact", "grid": "end_point"}),
    "democratic 2": ("democratic", {"redundancy": 2}),
    "sign_frame": ("sign_frame", {}),
}
PRIORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"Gaussian": lambda g: g, "Gaussian cubed": lambda g: g**3}


def risks(prior: str, trials: int) -> dict[str, list[float]]:
    total = {name: np.zeros(len(BITS)) for name in METHODS}
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        theta = PRIORS[prior](rng.standard_normal(D))
        theta *= np.sqrt(D) / np.linalg.norm(theta)
        # X^T y / n = theta + X^T v / n, and that noise is N(0, I / n)
        estimate = (theta + rng.standard_normal(D) / np.sqrt(N)) / (1 + 1 / N)
        for name, (method, options) in METHODS.items():
            for i, bits in enumerate(BITS):
                coded = evenbits.quantize(estimate, bits, method, seed=seed, **options).decode()
                total[name][i] += np.mean((coded - theta) ** 2) / trials
    return {name: list(values) for name, values in total.items()}


def networks(seeds: int = 8, m: int = 64) -> dict[str, list[float]]:
    """Mean squared error relative to the outputs; of the form with signs (1 bit a neuron on top) the best method alone."""
    errors: dict[str, list[list[float]]] = {name: [[] for _ in BITS] for name in (*METHODS, "near_democratic, signs")}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        w, a = rng.standard_normal((m, D)) ** 3, rng.standard_normal(m) ** 3
        x = rng.standard_normal((400, D))
        f = np.maximum(x @ w.T, 0) @ a
        for name, cells in errors.items():
            method, options = METHODS[name.removesuffix(", signs")]
            signs = name.endswith("signs")
            rows, output = (w * np.abs(a)[:, None], np.sign(a)) if signs else (w, a)
            for cell, bits in zip(cells, BITS, strict=True):
                coded = evenbits.quantize(rows, bits, method, seed=seed, **options).decode()
                outer = output if signs else evenbits.quantize(output, bits, method, seed=seed, **options).decode()
                off = np.abs(f - np.maximum(x @ coded.T, 0) @ outer)
                if not (off <= relu_output_error(x, rows, output, coded, outer)).all():
                    raise AssertionError(f"{name}, {bits} bits: an output is off by more than its bound")
                cell.append(float(np.mean(off**2) / np.mean(f**2)))
    return {name: [float(np.mean(cell)) for cell in cells] for name, cells in errors.items()}


def show(title: str, rows: dict[str, list[float]]) -> None:
    print(f"\n| {title} | " + " | ".join(f"B = {b:g}" for b in BITS) + " |\n|---|" + "---|" * len(BITS))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.3g}" for v in values) + " |", flush=True)


def plot(tables: dict[str, dict[str, list[float]]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(tables), figsize=(5 * len(tables), 4.2), layout="constrained")
    for axis, (title, rows) in zip(axes, tables.items(), strict=True):
        for name, values in rows.items():
            axis.semilogy(BITS, values, "k--" if name == "lower bound" else "o-", label=name, markersize=4)
        if "lower bound" in rows:
            axis.axvline(threshold_bits(samples=N), color="gray", linestyle=":", label="B*")
        axis.set(title=title, xlabel="bits a value")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    print(f"evenbits {evenbits.__version__}: {arguments.trials} trials; B* = {threshold_bits(samples=N):g}")
    bound = {"lower bound": [orthogonal_risk(b, samples=N) for b in BITS]}
    tables = {f"risk, {prior} theta": bound | risks(prior, arguments.trials) for prior in PRIORS}
    tables["squared error of a ReLU network"] = networks()
    for title, rows in tables.items():
        show(title, rows)
    if arguments.plot:
        plot(tables, arguments.plot)


if __name__ == "__main__":
    main()
