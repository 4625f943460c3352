"""Clips of weights and activations searched together by the loss, on a network for digits.

    python bench/experiments/loss_aware.py [--plot FILE]

scikit-learn's digits, 1,200 to train on and 597 to test; a network of four hidden layers of 64. The weights of the three inner
layers and all four ReLU outputs are quantized, the clips chosen by the cross-entropy on 512 of the training images.
"""

from __future__ import annotations

import argparse
import math
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from evenbits.networks import Dense, ReLU, quantize_loss_aware
from evenbits.networks.loss_aware import network_call

RATES = [(4, 4), (3, 3), (2, 4), (2, 2)]
WIDEST = math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = (data.data[order] / 16).astype(np.float32), data.target[order]
    trained = MLPClassifier((64,) * 4, max_iter=400, random_state=0).fit(x[:1200].astype(np.float64), y[:1200])
    layers: list[Any] = []
    for w, b in zip(trained.coefs_, trained.intercepts_, strict=True):
        layers += [Dense(w.T.astype(np.float32), b.astype(np.float32)), ReLU()]
    model = layers[:-1]

    def loss(few: Any) -> float:
        z = network_call(few, (x[:512],))
        z = z - z.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(512), y[:512]]))

    def accuracy(few: Any) -> float:
        return float(np.mean(network_call(few, (x[1200:],)).argmax(axis=1) == y[1200:]))

    print(f"float32: accuracy {accuracy(model):.3f}, loss {loss(model):.4f}\n")
    columns = ["weights, activations", "bias correction", "widest", "p = 2", "best p", "together", "evaluations"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    found: dict[str, list[float]] = {}
    for weights, activations in RATES:
        for corrected in (False, True):
            given: dict[str, Any] = {"bits": weights, "activation_bits": activations, "bias_correction": corrected}
            widest = quantize_loss_aware(model, x[:512], loss, powers=[WIDEST], iterations=0, **given)
            simple = quantize_loss_aware(model, x[:512], loss, powers=[2], iterations=0, **given)
            start = quantize_loss_aware(model, x[:512], loss, iterations=0, **given)
            together = quantize_loss_aware(model, x[:512], loss, **given)
            results = [widest, simple, start, together]
            accuracies = [accuracy(r.model) for r in results]
            found[f"W{weights}A{activations}{' + bias' if corrected else ''}"] = accuracies
            cells = [f"{100 * a:.1f} ({r.search.loss:.3f})" for a, r in zip(accuracies, results, strict=True)]
            cells[2] += f", {results[2].search.p:.2f}"
            row = [f"{weights}, {activations}", "yes" if corrected else "no", *cells, str(results[3].search.evaluations)]
            print(f"| {' | '.join(row)} |")
    if arguments.plot:
        plot(found, accuracy(model), arguments.plot)


def plot(found: dict[str, list[float]], full: float, path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    places = np.arange(len(found))
    for i, name in enumerate(("widest", "p = 2", "best p", "together")):
        axis.bar(places + 0.2 * i, [100 * a[i] for a in found.values()], 0.2, label=name)
    axis.axhline(100 * full, color="k", linestyle="--", linewidth=1)
    axis.set(ylabel="accuracy, %", ylim=(70, 100))
    axis.set_xticks(places + 0.3, found, fontsize=8)
    axis.legend(loc="lower left")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
