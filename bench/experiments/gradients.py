"""Convergence with few-bit gradients beside uncompressed ones, at half a bit to 4 bits a value.

    python bench/experiments/gradients.py [--runs 3] [--plot FILE]

Least squares: y = A x + noise, A 500 x 116 and Gaussian, x Gaussian cubed; descent with differentially encoded feedback
(DGD-DEF) and steps of 2 / (L + mu). The rate is (|x_T - x*| / |x_0 - x*|)^(1/T), T = 100, the mean over runs; max(nu, b) is
what the theory says, b the root of the mean squared error of the codes for Gaussians cubed.
Logistic regression: 0 to 4 against 5 to 9 of scikit-learn's digits, 64 pixels and a constant, L2 penalty .01; stochastic
gradients of 16 samples, 3,000 steps of .5 / sqrt(1 + t / 50), the loss above its minimum at the mean of the iterates
(DQ-PSGD) for unbiased codes, and the same with error feedback and the nearest codes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import evenbits
from evenbits.bounds import descent_rate
from evenbits.gradients import Compressor, ErrorFeedback, dgd_def, dq_psgd

BITS = [0.5, 1, 2, 4]
NEAREST: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform, absmax": ("uniform", {"grid": "mid_rise"}),
    "lloyd_max": ("lloyd_max", {}),
    "near_democratic": ("near_democratic", {}),
    "democratic 1.25": ("democratic", {}),
}
UNBIASED: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform": ("uniform", {}),
    "near_democratic": ("near_democratic", {}),
    "democratic 1.25": ("democratic", {}),
}
STEPS, SAMPLES = 100, 3000
Curves = dict[str, dict[float, np.ndarray]]


def least_squares(seed: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Curvature, minimizer and its extreme eigenvalues."""
    rng = np.random.default_rng(seed)
    a, truth = rng.standard_normal((500, 116)), rng.standard_normal(116) ** 3
    best = np.linalg.lstsq(a, a @ truth + rng.standard_normal(500), rcond=None)[0]
    curvature = a.T @ a
    eigenvalues = np.linalg.eigvalsh(curvature)
    return curvature, best, eigenvalues[-1], eigenvalues[0]


def descend(seed: int, compressor: Compressor | None) -> np.ndarray:
    """|x_t - x*| / |x_0 - x*| from x_0 = 0."""
    curvature, best, smooth, convex = least_squares(seed)
    path = dgd_def(lambda z: curvature @ (z - best), np.zeros(116), step=2 / (smooth + convex), compressor=compressor)
    with np.errstate(over="ignore"):
        return np.array([np.linalg.norm(x - best) for x in islice(path, STEPS)]) / np.linalg.norm(best)


def contraction(compressor: Compressor) -> float:
    x = np.random.default_rng(0).standard_normal((200, 116)) ** 3
    off = [np.sum((row - compressor(row, i)) ** 2) / np.sum(row**2) for i, row in enumerate(x)]
    return float(np.sqrt(np.mean(off)))


def least_squares_table(runs: int) -> Curves:
    curves: Curves = {"uncompressed": {b: np.mean([np.log(descend(s, None)) for s in range(runs)], axis=0) for b in BITS}}
    theory: dict[str, list[float]] = {}
    for name, (method, options) in NEAREST.items():
        curves[name], theory[name] = {}, []
        for bits in BITS:
            logs = [np.log(descend(s, Compressor(bits, method, seed=s, **options))) for s in range(runs)]
            curves[name][bits] = np.mean(logs, axis=0)
            b = contraction(Compressor(bits, method, **options))
            theory[name].append(float(np.mean([descent_rate(*least_squares(s)[2:], b) for s in range(runs)])))
    print("\n| DGD-DEF, rate (max(nu, b)) | " + " | ".join(f"B = {b:g}" for b in BITS) + " |\n|---|" + "---|" * len(BITS))
    for name, curve in curves.items():
        rates = [float(np.exp(curve[b][-1] / STEPS)) for b in BITS]
        cells = [f"{r:.3f}" for r in rates]
        if name in theory:
            cells = [f"{r:.3f} ({t:.3f})" for r, t in zip(rates, theory[name], strict=True)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return curves


class Logistic:
    """The task, and its minimum by Newton's method."""

    def __init__(self) -> None:
        pixels, digits = load_digits(return_X_y=True)
        self.x = np.column_stack([pixels / 16, np.ones(len(pixels))])
        self.y = np.where(digits < 5, 1.0, -1.0)
        w = np.zeros(self.x.shape[1])
        for _ in range(30):
            p = 1 / (1 + np.exp(self.y * (self.x @ w)))
            hessian = (self.x.T * (p * (1 - p))) @ self.x / len(p) + 0.01 * np.eye(len(w))
            w = w - np.linalg.solve(hessian, self.gradient(w, slice(None)))
        self.least = self.loss(w)

    def loss(self, w: np.ndarray) -> float:
        return float(np.logaddexp(0, -self.y * (self.x @ w)).mean() + 0.005 * w @ w)

    def gradient(self, w: np.ndarray, rows: Any) -> np.ndarray:
        x, y = self.x[rows], self.y[rows]
        return -(x.T @ (y / (1 + np.exp(y * (x @ w))))) / len(y) + 0.01 * w

    def sampled(self, seed: int) -> Callable[[np.ndarray, int], np.ndarray]:
        rows = np.random.default_rng(seed).integers(0, len(self.y), (SAMPLES, 16))
        return lambda w, t: self.gradient(w, rows[t])


def step(t: int) -> float:
    return 0.5 / np.sqrt(1 + t / 50)


def with_feedback(gradient: Callable[[np.ndarray, int], np.ndarray], d: int, compressor: Compressor) -> Iterator[np.ndarray]:
    """Means of the iterates."""
    feedback, w, mean = ErrorFeedback(compressor), np.zeros(d), np.zeros(d)
    for t in range(SAMPLES):
        w = w - step(t) * feedback(gradient(w, t), t)
        mean = mean + (w - mean) / (t + 1)
        yield mean


def logistic_table(runs: int) -> Curves:
    task = Logistic()
    d = task.x.shape[1]

    def curve(paths: list[Iterator[np.ndarray]]) -> np.ndarray:
        return np.mean([[task.loss(w) - task.least for w in islice(path, 0, SAMPLES, 50)] for path in paths], axis=0)

    def path(seed: int, compressor: Compressor | None) -> Iterator[np.ndarray]:
        return islice(dq_psgd(task.sampled(seed), np.zeros(d), step=step, compressor=compressor), SAMPLES)

    plain = curve([path(s, None) for s in range(runs)])
    curves: Curves = {"uncompressed": dict.fromkeys(BITS, plain)}
    for name, (method, options) in UNBIASED.items():
        curves[f"unbiased {name}"] = {
            b: curve([path(s, Compressor(b, method, unbiased=True, seed=s, **options)) for s in range(runs)]) for b in BITS
        }
    for name, (method, options) in NEAREST.items():
        curves[f"feedback {name}"] = {
            b: curve([with_feedback(task.sampled(s), d, Compressor(b, method, seed=s, **options)) for s in range(runs)])
            for b in BITS
        }
    print(f"\n| logistic, loss above its minimum of {task.least:.4f} | " + " | ".join(f"B = {b:g}" for b in BITS) + " |")
    print("|---|" + "---|" * len(BITS))
    for name, values in curves.items():
        print(f"| {name} | " + " | ".join(f"{values[b][-1]:.4f}" for b in BITS) + " |", flush=True)
    return curves


def plot(squares: Curves, logistic: Curves, path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(BITS), figsize=(14, 7), sharey="row", layout="constrained")
    for column, bits in enumerate(BITS):
        upper, lower = axes[:, column]
        for name, curve in squares.items():
            upper.semilogy(np.arange(1, STEPS + 1), np.exp(curve[bits]), "k--" if name == "uncompressed" else "-", label=name)
        for name, curve in logistic.items():
            dashes = "k--" if name == "uncompressed" else ":" if name.startswith("unbiased") else "-"
            lower.loglog(np.arange(1, SAMPLES + 1, 50), curve[bits], dashes, label=name)
        upper.set(title=f"{bits:g} bits a value", xlabel="steps of DGD-DEF", ylim=(1e-11, 10))
        lower.set(xlabel="stochastic steps", ylim=(2e-4, 0.4))
        upper.grid(alpha=0.3)
        lower.grid(alpha=0.3)
    axes[0, 0].set_ylabel("|x − x*| / |x*|")
    axes[1, 0].set_ylabel("loss above its minimum")
    axes[0, -1].legend(fontsize=7)
    axes[1, -1].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    print(f"evenbits {evenbits.__version__}: means over {arguments.runs} runs")
    squares, logistic = least_squares_table(arguments.runs), logistic_table(arguments.runs)
    if arguments.plot:
        plot(squares, logistic, arguments.plot)


if __name__ == "__main__":
    main()
