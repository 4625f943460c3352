"""Successive refinement (SuRP), magnitude pruning and the dead-zone quantizer: rates, and accuracy against sparsity.

    python bench/experiments/pruning.py rates                     # streams of a Laplacian against its rate-distortion function
    python bench/experiments/pruning.py digits --plot FILE        # a network of scikit-learn, no training after pruning
    python bench/experiments/pruning.py mnist --plot FILE         # a convolutional network of PyTorch, likewise
    python bench/experiments/pruning.py mnist --train 2           # with two epochs of training after each of five stages

All tensors of a network are pruned together, each divided by its l2 norm. Bits a weight are those of the file: stream, scales and
spec. Nothing is chosen by the held-out images; with training, epochs are chosen by 1,000 images set aside for that.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np

import evenbits
from evenbits.quantizers import DeadZone, MagnitudePruning, Pruning
from evenbits.quantizers.pruning import decode_tensors
from evenbits.rate_distortion import laplacian_absolute_rate, laplacian_zero_mass

Tensors = dict[str, np.ndarray]
Row = tuple[str, float, float, float]
"""Method, zeros, bits a weight, accuracy."""
SPARSITIES = (0.3, 0.5, 0.65, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98)
DISTORTIONS = (0.9, 0.7, 0.5, 0.4, 0.2, 0.1)


def rates(n: int = 100_000) -> None:
    x = np.random.default_rng(3).laplace(size=n).astype(np.float32)
    mean = np.abs(x).mean()
    print(
        f"Laplacian, {n} values: bits at a mean absolute error of D E|x|; in brackets those of indices alone over the least; "
        "zeros in %.\n"
    )
    print("| | " + " | ".join(f"D = {d}" for d in DISTORTIONS) + " |\n|---" + "|---" * len(DISTORTIONS) + "|")
    print(
        "| least | "
        + " | ".join(f"{laplacian_absolute_rate(d):.3f}; {100 * laplacian_zero_mass(d):.0f}" for d in DISTORTIONS)
        + " |"
    )
    for schedule in ("passes", "stable", "public", "paper"):
        cells = []
        for d in DISTORTIONS:
            e = Pruning(16, schedule=schedule, distortion=d).encode(x)
            y = e.decode()
            reached, bits, kept = np.abs(x - y).mean() / mean, 8 * e.planes["stream"].size / n, np.mean(y != 0)
            ratio = (bits - kept) / -math.log2(reached)
            cells.append(f"{bits:.3f} ({ratio:.2f}); {100 - 100 * kept:.0f}" if reached < 1.01 * d else "not reached")
        print(f"| `{schedule}` | " + " | ".join(cells) + " |")
    cells = []
    for d in DISTORTIONS:
        e = DeadZone(16, loss="absolute", distortion=d).encode(x)
        cells.append(f"{8 * e.planes['stream'].size / n:.3f}; {100 * np.mean(e.decode() == 0):.0f}")
    print("| `dead_zone` | " + " | ".join(cells) + " |\n")
    large = np.random.default_rng(0).laplace(size=(5000, 5000)).astype(np.float32)
    for name, quantizer in (
        *((f"pruning, {s}, to 90 % zeros", Pruning(16, sparsity=0.9, schedule=s)) for s in ("passes", "stable")),
        *((f"dead_zone, {b} bits", DeadZone(b)) for b in (1, 2.757, 4)),
    ):
        start = time.process_time()
        e = quantizer.encode(large)
        middle = time.process_time()
        e.decode()
        end = time.process_time()
        print(f"25 M weights, {name}: encoded in {middle - start:.2f} s, decoded in {end - middle:.2f} s")


def together(tensors: Tensors) -> tuple[np.ndarray, dict[str, float]]:
    """All values in one row, each tensor divided by its l2 norm."""
    norms = {name: float(np.linalg.norm(w)) for name, w in tensors.items()}
    return np.concatenate([w.reshape(-1) / norms[name] for name, w in tensors.items()]).astype(np.float32), norms


def apart(flat: np.ndarray, tensors: Tensors, norms: dict[str, float]) -> Tensors:
    parts = np.split(flat, np.cumsum([w.size for w in tensors.values()])[:-1])
    return {name: part.reshape(w.shape) * norms[name] for (name, w), part in zip(tensors.items(), parts, strict=True)}


def compare(tensors: Tensors, accuracy: Callable[[Tensors], float]) -> Iterator[Row]:
    shapes = {name: w.shape for name, w in tensors.items()}
    flat, norms = together(tensors)
    for schedule in ("passes", "stable"):
        for sparsity in SPARSITIES:
            e = Pruning(16, sparsity=sparsity, schedule=schedule).encode_tensors(tensors)
            y = decode_tensors(e, shapes)
            yield f"pruning, {schedule}", float(np.mean(e.decode() == 0)), e.bits_per_value, accuracy(y)
    for sparsity in SPARSITIES:
        e = MagnitudePruning(16, sparsity=sparsity, values="float16").encode(flat)
        y = e.decode()
        yield "magnitude, float16", float(np.mean(y == 0)), e.bits_per_value, accuracy(apart(y, tensors, norms))
    for bits in (2.5, 2, 1.5, 1, 0.75, 0.5, 0.35, 0.25, 0.15):
        e = DeadZone(bits).encode(flat)
        y = e.decode()
        yield "dead_zone", float(np.mean(y == 0)), e.bits_per_value, accuracy(apart(y, tensors, norms))


def digits() -> tuple[Tensors, Callable[[Tensors], float]]:
    """A network of 64-256-256-10 neurons, 84,480 weights, and its accuracy on the 597 images that it has not seen."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore")
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = images[order] / 16, labels[order]
    network = MLPClassifier((256, 256), max_iter=300, random_state=0).fit(x[:1200], y[:1200])

    def accuracy(tensors: Tensors) -> float:
        a = x[1200:]
        for i, (w, bias) in enumerate(zip(tensors.values(), network.intercepts_, strict=True)):
            a = (np.maximum(a, 0) if i else a) @ w.T + bias
        return float(np.mean(a.argmax(axis=1) == y[1200:]))

    return {str(i): w.T.astype(np.float32) for i, w in enumerate(network.coefs_)}, accuracy


def mnist(epochs: int) -> tuple[Tensors, Callable[[Tensors], float], Iterator[Row]]:
    """The network of ``vision.py``, its accuracy on 2,000 held-out images, and the stages of iterative pruning."""
    import torch
    import vision
    from torch.nn import functional

    from evenbits import iterative_pruning

    torch.set_num_threads(1)
    model, x, y, held_x, held_y = vision.digits()
    weights = iterative_pruning.prunable(model)

    @torch.no_grad()
    def share(images: torch.Tensor, labels: torch.Tensor) -> float:
        model.eval()
        return float((torch.cat([model(part) for part in images.split(500)]).argmax(1) == labels).float().mean())

    def accuracy(tensors: Tensors) -> float:
        with torch.no_grad():
            for name, p in weights.items():
                p.copy_(torch.from_numpy(np.ascontiguousarray(tensors[name])))
        return share(held_x, held_y)

    def train(model: torch.nn.Module) -> None:
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
        for i in torch.split(torch.randperm(7000), 128):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[i]), y[i]).backward()
            optimizer.step()

    def stages() -> Iterator[Row]:
        torch.manual_seed(0)
        for stage in iterative_pruning.prune(
            model, train, lambda _: share(x[7000:], y[7000:]), sparsities=(0.8, 0.9, 0.95, 0.98, 0.99), epochs=epochs
        ):
            yield "pruning, trained", stage.sparsity, stage.encoded.bits_per_value, share(held_x, held_y)

    return {name: p.detach().numpy().copy() for name, p in weights.items()}, accuracy, stages()


def plot(rows: list[Row], full: float, path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for name in dict.fromkeys(row[0] for row in rows):
        _, zeros, bits, accuracy = zip(*(row for row in rows if row[0] == name), strict=True)
        axes[0].plot([100 * z for z in zeros], [100 * a for a in accuracy], "o-", label=name, markersize=4)
        axes[1].plot(bits, [100 * a for a in accuracy], "o-", label=name, markersize=4)
    for axis, label in zip(axes, ("zeros, %", "bits a weight, all counted"), strict=True):
        axis.axhline(100 * full, color="k", linestyle="--", linewidth=1)
        axis.set(xlabel=label)
        axis.grid(alpha=0.3)
    axes[1].set_xscale("log")
    axes[0].set_ylabel("accuracy, %")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("rates", "digits", "mnist"))
    parser.add_argument("--train", type=int, default=0, metavar="EPOCHS")
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    print(f"evenbits {evenbits.__version__}\n")
    if arguments.part == "rates":
        rates()
        return
    if arguments.part == "digits":
        tensors, accuracy = digits()
        stages: Iterator[Row] = iter(())
    else:
        tensors, accuracy, stages = mnist(arguments.train)
    full = accuracy(tensors)
    rows = list(compare(tensors, accuracy))
    if arguments.train:
        accuracy(tensors)  # the weights as they were
        rows += stages
    print(f"{sum(w.size for w in tensors.values())} weights; float32: {100 * full:.2f} %\n")
    print("| method | zeros, % | bits a weight | accuracy, % |\n|---|---|---|---|")
    for name, zeros, bits, found in rows:
        print(f"| {name} | {100 * zeros:.1f} | {bits:.3f} | {100 * found:.1f} |")
    if arguments.plot:
        plot(rows, full, arguments.plot)


if __name__ == "__main__":
    main()
