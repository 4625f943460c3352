"""Quantized linear models and two-layer networks on real data: R² on held-out rows against bits a weight.

    python bench/experiments/linear_models.py [--splits 5] [--seeds 8] [--plot FILE]

Data: diabetes (scikit-learn); ames (house prices, log10; categories as columns of 0 and 1), concrete (strength) and meats (fat
from 100 channels of a spectrum), from R's package modeldata; reviews: mean ratings of sentences by their MiniLM embeddings.
Four fifths of the rows are learnt from, features and target standardized by them. The linear models are ridge regressions,
their penalty chosen on a part of those rows; the networks have 32 neurons and penalty 1. Each number is the mean over
``--splits`` splits and, for methods that rotate, ``--seeds`` rotations. Rates are index bits a weight; 32 bits of scale a row
come on top, and the spec. Every prediction is compared to its bound.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import packages
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

import evenbits
from evenbits.estimators import QuantizedLinearRegression, QuantizedTwoLayerReLU

BITS = [1, 1.5, 2, 3, 4, 6, 8]
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform, absmax": ("uniform", {"grid": "mid_rise"}),
    "uniform": ("uniform", {}),
    "uniform, optimal clip": ("uniform", {"grid": "mid_rise", "range": "optimal"}),
    "lloyd_max": ("lloyd_max", {}),
    "near_democratic, stochastic": ("near_democratic", {"rounding": "stochastic"}),
    "near_democratic": ("near_democratic", {}),
    "democratic 1.25": ("democratic", {}),
    "democratic 2": ("democratic", {"redundancy": 2}),
}
ROTATED = ("near_democratic", "democratic")
NETWORKS = ("concrete", "ames")

Rows = tuple[np.ndarray, np.ndarray]


def frame(name: str, target: str, *without: str) -> Rows:
    """Numbers as they are, categories as columns of 0 and 1."""
    columns = packages.modeldata(name)
    y = columns.pop(target).astype(float)
    parts = []
    for column, values in columns.items():
        if column in without:
            continue
        try:
            parts.append(values.astype(float)[:, None])
        except (TypeError, ValueError):
            words = values.astype(str)
            parts.append((words[:, None] == np.unique(words)).astype(float))
    return np.hstack(parts), y


def ames() -> Rows:
    x, price = frame("ames", "Sale_Price")
    return x, np.log10(price)


def reviews(count: int = 4000) -> Rows:
    """Embeddings of sentences, and their ratings; the embeddings are kept beside the model."""
    texts, ratings = packages.movie_snippets()
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    path = packages.minilm() / f"reviews-{count}.npy"
    if not path.exists():
        np.save(path, embeddings(packages.minilm(), [texts[i] for i in order]))
    return np.load(path), ratings[order]


def embeddings(model: Path, texts: list[str]) -> np.ndarray:
    import torch
    from minilm import Encoder
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    return Encoder(model / "tokenizer.json", load_file(model / "model.safetensors"))(texts, 48)


DATA: dict[str, Callable[[], Rows]] = {
    "diabetes": partial(load_diabetes, return_X_y=True),
    "concrete": partial(frame, "concrete", "compressive_strength"),
    "meats": partial(frame, "meats", "fat", "water", "protein"),
    "ames": ames,
    "reviews": reviews,
}


def split(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows to learn from and rows held out, standardized by the former."""
    order = np.random.default_rng(seed).permutation(len(x))
    learn, hold = np.split(order, [int(0.8 * len(x))])
    changes = x[learn].std(axis=0) > 1e-9
    features, target = StandardScaler().fit(x[learn][:, changes]), StandardScaler().fit(y[learn, None])
    a, b = (features.transform(x[rows][:, changes]) for rows in (learn, hold))
    return a, target.transform(y[learn, None])[:, 0], b, target.transform(y[hold, None])[:, 0]


def ridge(x: np.ndarray, y: np.ndarray) -> Ridge:
    n = int(0.8 * len(x))
    penalties = (1e-3, 0.1, 1, 10, 100, 1000)
    return Ridge(max(penalties, key=lambda a: Ridge(a).fit(x[:n], y[:n]).score(x[n:], y[n:]))).fit(x, y)


def network(x: np.ndarray, y: np.ndarray) -> MLPRegressor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 500 steps are enough
        model = MLPRegressor(hidden_layer_sizes=(32,), alpha=1.0, solver="lbfgs", max_iter=500, random_state=0)
        return model.fit(x, y)


class Table:
    """R² by method and bits, gathered over splits and seeds."""

    def __init__(self, title: str) -> None:
        self.title, self.full = title, []
        self.scores: dict[str, dict[float, list[float]]] = {}
        self.sizes: dict[str, float] = {}
        self.closest = 0.0

    def add(self, name: str, bits: float, quantized: Any, full: Any, x: np.ndarray, y: np.ndarray) -> None:
        off, bound = np.abs(quantized.predict(x) - full.predict(x)), quantized.output_error_bound(x)
        if not (off <= bound).all():
            raise AssertionError(f"{self.title}, {name}, {bits} bits: a prediction is off by more than its bound")
        self.closest = max(self.closest, float((off / bound).max()))
        self.scores.setdefault(name, {}).setdefault(bits, []).append(quantized.score(x, y))
        if bits == 4:
            self.sizes[name] = quantized.nbytes_

    def mean(self, name: str) -> list[float]:
        return [float(np.mean(self.scores[name][b])) for b in BITS]

    def show(self) -> None:
        print(f"\n| {self.title}: R² {np.mean(self.full):.4f} | " + " | ".join(f"B = {b:g}" for b in BITS) + " | bytes at 4 |")
        print("|---|" + "---|" * (len(BITS) + 1))
        for name in self.scores:
            cells = [f"{v:.4f}" if v > -9.9 else f"{v:.1f}" for v in self.mean(name)]
            print(f"| {name} | " + " | ".join(cells) + f" | {self.sizes[name]:.0f} |")
        print(f"\nEvery prediction within its bound; the closest at {self.closest:.2f} of it.", flush=True)


def linear(name: str, splits: int, seeds: int) -> Table:
    x, y = DATA[name]()
    for seed in range(splits):
        a, b, held, truth = split(x, y, seed)
        full = ridge(a, b)
        if seed == 0:
            result = Table(f"{name}, {len(x)} rows of {a.shape[1]}, ridge")
        result.full.append(full.score(held, truth))
        for label, (method, options) in METHODS.items():
            for bits in BITS:
                for s in range(seeds if method in ROTATED else 1):
                    model = QuantizedLinearRegression(bits, method, estimator=FrozenEstimator(full), options=options, seed=s)
                    result.add(label, bits, model.fit(a, b), full, held, truth)
    return result


def networks(name: str, splits: int, seeds: int) -> Table:
    x, y = DATA[name]()
    for seed in range(splits):
        a, b, held, truth = split(x, y, seed)
        full = network(a, b)
        if seed == 0:
            result = Table(f"{name}, {a.shape[1]} features, 32 neurons")
        result.full.append(full.score(held, truth))
        for label, (method, options) in METHODS.items():
            for signs in (True, False):
                for bits in BITS:
                    for s in range(seeds if method in ROTATED else 1):
                        given = {"network": FrozenEstimator(full), "signs": signs, "options": options, "seed": s}
                        model = QuantizedTwoLayerReLU(bits, method, **given).fit(a, b)
                        result.add(label + (", signs" if signs else ""), bits, model, full, held, truth)
    return result


def plot(tables: list[Table], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = 1 if len(tables) < 4 else 2
    columns = -(-len(tables) // rows)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.5 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(tables) :]:
        axis.axis("off")
    for axis, table in zip(axes.flat, tables, strict=False):
        full = float(np.mean(table.full))
        axis.axhline(full, color="k", linestyle="--", label="unquantized")
        for name in ("uniform, absmax", "uniform", "lloyd_max", "near_democratic", "democratic 1.25", "democratic 2"):
            best = f"{name}, signs" if f"{name}, signs" in table.scores else name
            axis.plot(BITS, table.mean(best), "o-", label=name, markersize=4)
        axis.set(title=table.title.replace(", ", "\n", 1), xlabel="bits a weight", ylim=(min(0, full - 0.6), full + 0.05))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("R² on held-out rows")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower right", fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), metavar="NAME", help=f"of: {', '.join(DATA)}")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    print(f"evenbits {evenbits.__version__}: means over {arguments.splits} splits and {arguments.seeds} seeds")
    tables = []
    for name in arguments.data:
        tables.append(linear(name, arguments.splits, arguments.seeds))
        tables[-1].show()
    for name in (n for n in NETWORKS if n in arguments.data):
        tables.append(networks(name, arguments.splits, arguments.seeds))
        tables[-1].show()
    if arguments.plot:
        plot(tables, arguments.plot)


if __name__ == "__main__":
    main()
