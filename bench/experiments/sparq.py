"""Windows of few bits of 8-bit activations: error of products of matrices, and bits a value.

    python bench/experiments/sparq.py [--plot FILE]

Activations are max(0, Gaussian + shift), 256 rows of 512, with the mean of the rows' maxima at 255; weights are random bytes. The
error is |A W - A' W| / |A W|. Bits are measured (everything counted), beside those of windows and places side by side.
"""

from __future__ import annotations

import argparse

import numpy as np

from evenbits.quantizers import Sparq
from evenbits.quantizers.sparq import activation_scale

FORMATS = [(4, 5), (4, 3), (4, 2), (3, 6), (2, 7)]
VARIANTS = [("trim", False), ("nearest", False), ("nearest", True)]
SHIFTS = [0.7, 0.0, -0.7]


def activations(shift: float, rng: np.random.Generator) -> np.ndarray:
    h = np.maximum(rng.standard_normal((256, 512)) + shift, 0)
    return np.clip(np.round(h / activation_scale(h)), 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    data = [activations(shift, rng) for shift in SHIFTS]
    w = rng.integers(-127, 128, (512, 64)).astype(np.int8)
    zeros = [f"{np.mean(a == 0):.0%} zeros" for a in data]
    print(f"| window | | {' | '.join(zeros)} | bits a value, {zeros[1]} | side by side |\n|---|---|{'---|' * (len(data) + 2)}")
    equal = []
    for levels in (16, 32, 49, 54):  # as many bits as windows take
        step = 255 / (levels - 1)
        errors = [np.linalg.norm((np.round(a / step) * step - a) @ w) / np.linalg.norm(a.astype(float) @ w) for a in data]
        equal.append((float(np.log2(levels)), float(errors[1])))
        print(f"| {levels} equal steps | | {' | '.join(f'{e:.4f}' for e in errors)} | {equal[-1][0]:.2f} | |")
    points = []
    for bits, places in FORMATS:
        for rounding, pairs in VARIANTS:
            sparq = Sparq(bits, places, rounding=rounding, pairs=pairs)
            errors = [sparq.product_error(a, w) for a in data]
            stored = sparq.encode(data[1]).bits_per_value
            points.append((stored, errors[1], f"{bits}b-{places}", rounding, pairs))
            how = f"{'rounded' if rounding == 'nearest' else 'cut off'}{', pairs' if pairs else ''}"
            row = [f"{bits} bits, {places} places", how, *(f"{e:.4f}" for e in errors), f"{stored:.2f}", f"{sparq.cost:g}"]
            print(f"| {' | '.join(row)} |")
    if arguments.plot:
        plot(points, equal, arguments.plot)


def plot(points: list[tuple[float, float, str, str, bool]], equal: list[tuple[float, float]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for rounding, pairs in VARIANTS:
        mine = [p for p in points if p[3:] == (rounding, pairs)]
        label = f"{'rounded' if rounding == 'nearest' else 'cut off'}{', pairs' if pairs else ''}"
        axis.plot([p[0] for p in mine], [p[1] for p in mine], "o", label=label)
        for stored, error, name, *_ in mine if pairs else ():
            axis.annotate(name, (stored, error), textcoords="offset points", xytext=(5, -9), fontsize=8)
    axis.plot(*np.transpose(equal), "k^--", label="equal steps")
    axis.set(xlabel="bits a value, measured", ylabel="error of a product", yscale="log")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
