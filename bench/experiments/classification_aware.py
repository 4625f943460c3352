"""Few bits that keep a linear decision, from encoders that see a part of a row each.

    python bench/experiments/classification_aware.py [--plot FILE] [--real]

1: decisions sign(x_1 - x_2) of pairs, 4 levels each: Gaussian with correlation .5, and two Gaussians at +-.75 (1, -1) of
deviation .8; the part decided otherwise, for the points learnt from / 100,000 others, mean of 5 draws. 2: seconds of one fit
against the number of points. 3: digits (5 to 9 or not; 1,200 and 597), and with --real the embeddings of ``embeddings.py``
(three quarters and the rest): accuracy on held-out rows against all bits a row, blocks and gamma chosen on a fifth of the rows
learnt from.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from evenbits.quantizers import ClassificationAwareQuantizer as Quantizer
from evenbits.quantizers.thresholds import greedy_insertion, on_the_line, per_coordinate

NAMES = {"aware": "classification-aware", "plain": "k-means in each block, majority"}
W = np.array([1.0, -1.0]) / np.sqrt(2)
GAMMAS = [0.0, 0.5, 0.9, 1.0]
BITS = {2: [1, 2, 3, 4, 5, 6], 4: [1, 2, 3]}
"""Of each encoder, by their number."""


def pairs(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "Gaussian":
        return rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], n)
    sign = rng.integers(0, 2, n)[:, None] * 2 - 1
    return 0.75 * sign * np.array([1.0, -1.0]) + 0.8 * rng.standard_normal((n, 2))


def decisions() -> None:
    methods: dict[str, Callable[[np.ndarray], object]] = {
        "Lloyd-Max, majority": lambda x: per_coordinate(x, W, 4),
        "equal steps, majority": lambda x: per_coordinate(x, W, 4, kind="uniform"),
        "on the line": lambda x: on_the_line(x, W, 4),
        "greedy insertion": lambda x: greedy_insertion(x, W, 4),
    }
    for gamma in GAMMAS:
        methods[f"classification-aware, gamma {gamma:g}"] = lambda x, gamma=gamma: Quantizer(  # type: ignore[misc]
            2, gamma, standardize=False, prototypes=min(len(x), 128)
        ).fit(x, w=W)
    columns = list(itertools.product(("Gaussian", "two Gaussians"), (100, 1000)))
    print(f"| | {' | '.join(f'{kind}, {n}' for kind, n in columns)} |\n|---|{'---|' * len(columns)}")
    for name, make in methods.items():
        cells = []
        for kind, n in columns:
            if name == "greedy insertion" and n > 100:
                cells.append("")
                continue
            errors = []
            for draw in range(5):
                rng = np.random.default_rng(100 * draw + n + 4)
                x, test = pairs(kind, n, rng), pairs(kind, 100_000, rng)
                q = make(x)
                errors.append([q.disagreement(x), q.disagreement(test)])  # type: ignore[attr-defined]
            seen, other = np.mean(errors, axis=0)
            cells.append(f"{seen:.3f} / {other:.3f}")
        print(f"| {name} | {' | '.join(cells)} |")


def speed() -> None:
    print("\n| points | one fit, s | on the line, s | greedy insertion, s |\n|---|---|---|---|")
    for n in (100, 400, 1600, 25_600, 102_400, 1_000_000):
        x = pairs("Gaussian", n, np.random.default_rng(n))
        runs = [lambda x=x: Quantizer(2, 0.9, prototypes=256, restarts=1).fit(x, w=W)]  # type: ignore[misc]
        runs += [lambda x=x: on_the_line(x, W, 4)] if n <= 1600 else []  # type: ignore[misc]
        runs += [lambda x=x: greedy_insertion(x, W, 4)] if n <= 400 else []  # type: ignore[misc]
        times = []
        for run in runs:
            best = np.inf
            for _ in range(3):
                start = time.thread_time()
                run()
                best = min(best, time.thread_time() - start)
            times.append(f"{best:.4f}")
        print(f"| {n} | {' | '.join([*times, '', ''][:3])} |")


def accuracies(
    x: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray, blocks: int
) -> dict[str, list[tuple[int, float, float]]]:
    """All bits a row, accuracy, and the part decided as by the linear classifier; of our quantizer, and of k-means in each
    block with the best label a tuple."""
    model = LogisticRegression(max_iter=3000).fit(x, y)
    w, b = model.coef_[0], float(model.intercept_[0])
    cut, linear = len(x) * 4 // 5, model.predict(test)
    found: dict[str, list[tuple[int, float, float]]] = {"aware": [], "plain": [], "linear": [(0, np.mean(linear == truth), 1.0)]}
    for bits in BITS[blocks]:
        quantizers = [Quantizer(bits, g, blocks=blocks, restarts=3).fit(x[:cut], w=w, intercept=b) for g in (0.5, 0.9, 0.99)]
        best = max(quantizers, key=lambda q: np.mean((q.decision_sides(x[cut:]) > 0) == y[cut:]))
        for name, label in (("aware", best.decision_sides(test) > 0), ("plain", majority(x, y, test, blocks, 2**bits))):
            found[name].append((bits * blocks, float(np.mean(label == truth)), float(np.mean(label == linear))))
    return found


def majority(x: np.ndarray, y: np.ndarray, test: np.ndarray, blocks: int, k: int) -> np.ndarray:
    parts = np.array_split(np.arange(x.shape[1]), blocks)
    models = [KMeans(k, n_init=1, random_state=0).fit(x[:, p]) for p in parts]

    def tuples(a: np.ndarray) -> np.ndarray:
        total = np.zeros(len(a), np.int64)
        for p, m in zip(parts, models, strict=True):
            total = total * k + m.predict(a[:, p])
        return total

    votes = np.bincount(tuples(x), 2 * y - 1, k**blocks)
    label: np.ndarray = np.where(votes != 0, votes > 0, y.mean() > 0.5)[tuples(test)]
    return label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    decisions()
    speed()
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = digits.data[order] / 16, (digits.target[order] >= 5).astype(np.int64)
    sets = {"digits, 5 to 9": (x[:1200], y[:1200], x[1200:], y[1200:])}
    if arguments.real:
        import embeddings

        for name, (rows, classes) in embeddings.load().items():
            cut = len(rows) * 3 // 4
            sets[name] = rows[:cut].astype(np.float64), classes[:cut], rows[cut:].astype(np.float64), classes[cut:]
    found = {}
    for blocks, rates in BITS.items():
        print(f"\n| {blocks} blocks, bits a row: | {' | '.join(str(blocks * b) for b in rates)} |\n|---|{'---|' * len(rates)}")
        for name, data in sets.items():
            curves = found[f"{name}, {blocks} blocks"] = accuracies(*data, blocks)
            print(f"| {name}: linear classifier {curves.pop('linear')[0][1]:.3f} | {' | ' * len(rates)}")
            for method, points in curves.items():
                print(f"| {NAMES[method]} | {' | '.join(f'{a:.3f} ({b:.3f})' for _, a, b in points)} |")
    if arguments.plot:
        plot(found, arguments.plot)


def plot(found: dict[str, dict[str, list[tuple[int, float, float]]]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, (len(found) + 1) // 2, figsize=(2.5 * len(found), 7), layout="constrained", squeeze=False)
    for axis, (name, curves) in zip(axes.flat, found.items(), strict=False):
        for method, points in curves.items():
            axis.plot([p[0] for p in points], [p[1] for p in points], "o-", label=NAMES[method], markersize=4)
        axis.set(title=name, xlabel="bits a row", ylabel="accuracy, held out")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
