"""Train the small classifier that evenbits ships, and write it with its test images.

    python tools/train_digits.py [python/evenbits/data/digits.safetensors]

needs scikit-learn and safetensors. The 1,797 digits of 8x8 pixels are cut by one fixed permutation into 1,297 for
training and 500 for testing. The weight decay is the one with the best 5-fold cross-validation on the training part;
the test part is looked at once, by the model that is written. Another BLAS may round the training differently, so the
file, not this script, is what the package's figures refer to.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier

WIDTHS = (64, 64, 32, 10)
TEST = 500
DECAYS = [1e-4, 1e-3, 1e-2, 1e-1]
EPOCHS = 150


def main(path: Path) -> None:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = digits.data[order].astype(np.uint8), digits.target[order].astype(np.uint8)
    x = images.astype(np.float32) / 16
    train, test = slice(None, -TEST), slice(-TEST, None)

    network = MLPClassifier(
        WIDTHS[1:-1], batch_size=32, learning_rate_init=1e-3, max_iter=EPOCHS, n_iter_no_change=EPOCHS, random_state=0
    )
    search = GridSearchCV(network, {"alpha": DECAYS}, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are fixed on purpose
    search.fit(x[train], labels[train])
    for decay, score in zip(DECAYS, search.cv_results_["mean_test_score"], strict=True):
        print(f"weight decay {decay:g}: {score:.2%} in cross-validation")

    tensors = {"images": images[test], "labels": labels[test]}
    y = x[test]
    best = search.best_estimator_
    for layer, (weight, bias) in enumerate(zip(best.coefs_, best.intercepts_, strict=True)):
        tensors[f"{layer}.weight"] = np.ascontiguousarray(weight.T, np.float32)
        tensors[f"{layer}.bias"] = bias.astype(np.float32)
        y = np.maximum(y, 0) if layer else y
        y = y @ tensors[f"{layer}.weight"].T + tensors[f"{layer}.bias"]
    right = int(np.sum(y.argmax(axis=-1) == labels[test]))
    print(f"{right} of {TEST} test images right ({right / TEST:.1%})")

    # One entry: safetensors keeps the metadata in no fixed order, and the file should be the same twice.
    about = {
        "architecture": "images / 16, then weights of " + "-".join(map(str, WIDTHS)) + " with ReLU between",
        "accuracy": right / TEST,
        "source": "test images and training data: Optical Recognition of Handwritten Digits (UCI, CC BY 4.0) "
        "as distributed with scikit-learn (BSD-3-Clause); trained by tools/train_digits.py",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(tensors, metadata={"about": json.dumps(about)}))
    print(f"wrote {path}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    main(Path(sys.argv[1]) if sys.argv[1:] else root / "python/evenbits/data/digits.safetensors")
