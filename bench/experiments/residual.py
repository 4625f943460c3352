"""Sums of random codewords against residual quantizers that are trained, at equal bits: error where they were trained, and
elsewhere.

    python bench/experiments/residual.py [--plot FILE]

1: Gaussian rows of 500 with variances exp(-.02 j), 1,000 to train on and 10,000 others, 8 bits a layer (arXiv 1705.00522 has a
source of this kind). 2: sentence embeddings (``embeddings.py``), rows of 384, the first three quarters to train on. Errors are
squared, relative to the rows' energy; for embeddings their mean is taken off first by all. faiss is compared where it is
installed.
Times are thread CPU time, the least of 15 rounds, for decoding 10,000 rows of source 1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from evenbits.quantizers import Residual
from evenbits.quantizers.residual import first_of
from evenbits.rate_distortion import reverse_water_filling

try:
    import faiss
except ModuleNotFoundError:
    faiss = None

LAYERS = [1, 2, 3, 5, 10]
Errors = dict[str, list[tuple[float, float]]]


def ours(train: np.ndarray, test: np.ndarray, layers: list[int], **options: str) -> list[tuple[float, float]]:
    q = Residual(Fraction(8 * max(layers), train.shape[1]), **options).train(train)
    codes = q.encode(train), q.encode(test)
    return [(error(train, first_of(codes[0], n).decode()), error(test, first_of(codes[1], n).decode())) for n in layers]


def peers(train: np.ndarray, test: np.ndarray, layers: list[int]) -> Errors:
    if faiss is None:
        return {}
    faiss.omp_set_num_threads(1)
    found: Errors = {"faiss residual": [], "faiss product": []}
    for n in layers:
        for name, make in (("faiss residual", faiss.ResidualQuantizer), ("faiss product", faiss.ProductQuantizer)):
            if make is faiss.ProductQuantizer and train.shape[1] % n:
                found[name].append((np.nan, np.nan))
                continue
            q = make(train.shape[1], n, 8)
            q.train(train)
            found[name].append(tuple(error(x, q.decode(q.compute_codes(x))) for x in (train, test)))  # type: ignore[arg-type]
    return found


def error(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum((x - y).astype(np.float64) ** 2) / np.sum(x.astype(np.float64) ** 2))


def table(name: str, found: Errors, layers: list[int], limit: list[float]) -> None:
    print(f"\n{name}: train / test\n\n| layers of 8 bits | {' | '.join(map(str, layers))} |\n|---|{'---|' * len(layers)}")
    for method, errors in found.items():
        print(f"| {method} | {' | '.join('' if np.isnan(a) else f'{a:.4f} / {b:.4f}' for a, b in errors)} |")
    print(f"| Shannon's limit for Gaussians | {' | '.join(f'{d:.4f}' for d in limit)} |")


def least_time(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    best = dict.fromkeys(runs, np.inf)
    for _ in range(15):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            best[name] = min(best[name], time.thread_time() - start)
    return best


def decoding(train: np.ndarray, test: np.ndarray) -> None:
    code = Residual(Fraction(80, train.shape[1])).train(train).encode(test)
    out = np.empty_like(test)
    runs: dict[str, Callable[[], object]] = {"random codewords": lambda: code.decode(out=out)}
    runs["writing zeros"] = lambda: out.fill(0)
    if faiss is not None:
        for name, q in (("faiss residual", faiss.ResidualQuantizer), ("faiss product", faiss.ProductQuantizer)):
            made = q(train.shape[1], 10, 8)
            made.train(train)
            codes = made.compute_codes(test)
            runs[name] = lambda made=made, codes=codes: made.decode(codes)  # type: ignore[misc]
    times = ", ".join(f"{name} {1000 * t:.2f}" for name, t in least_time(runs).items())
    print(f"\ndecoding 10,000 rows of ten layers, ms: {times}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--synthetic", action="store_true", help="leave the embeddings out")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    variances = np.exp(-0.02 * np.arange(500))
    train, test = ((rng.standard_normal((n, 500)) * np.sqrt(variances)).astype(np.float32) for n in (1000, 10_000))
    names = {"random codewords": "random", "k-means, regularized": "regularized", "k-means": "kmeans"}
    found = {name: ours(train, test, LAYERS, books=books) for name, books in names.items()} | peers(train, test, LAYERS)
    limit = [reverse_water_filling(variances, 8 * n)[1].sum() / variances.sum() for n in LAYERS]
    table("Gaussian rows", found, LAYERS, limit)
    decoding(train, test)
    if arguments.plot:
        plot(found, limit, arguments.plot)
    if not arguments.synthetic:
        real()


def real() -> None:
    import embeddings

    for name, (x, _) in embeddings.load().items():
        cut = len(x) * 3 // 4
        train, test = x[:cut] - x[:cut].mean(axis=0), x[cut:] - x[:cut].mean(axis=0)
        layers = [1, 2, 4, 8, 16]
        found = {
            "random codewords, PCA": ours(train, test, layers, transform="pca"),
            "random codewords": ours(train, test, layers),
            "k-means": ours(train, test, layers, books="kmeans"),
        } | peers(train, test, layers)
        spectrum = np.maximum(np.linalg.eigvalsh(np.cov(train.T.astype(np.float64))), 1e-12)
        limit = [reverse_water_filling(spectrum, 8 * n)[1].sum() / spectrum.sum() for n in layers]
        table(f"embeddings, {name}", found, layers, limit)


def plot(found: Errors, limit: list[float], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4.5), layout="constrained")
    axis.plot(LAYERS, limit, "k--", label="Shannon's limit")
    for name, errors in found.items():
        (line,) = axis.plot(LAYERS, [test for _, test in errors], "o-", label=name, markersize=4)
        axis.plot(LAYERS, [train for train, _ in errors], ":", color=line.get_color())
    axis.set(xlabel="layers of 8 bits", ylabel="squared error, relative: test (train dotted)", ylim=(0, 1.05))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
