"""What few bits cost trained networks: nearest rounding, error feedback (as GPTQ), path following (GPFQ), and stochastic (SPFQ).

    python bench/experiments/networks.py [mlp] [mnist] [efficientnet] [minilm] [--bits B ... | --total B ...] [--methods NAME ...]

mlp           64-256-256-10 on 8 x 8 digits (scikit-learn): accuracy and relative error of the logits on 597 images held out,
              the mean over four splits and networks, and of the first; one step a layer
mnist         a residual CNN, 144 thousand weights: accuracy on 2,000 images held out, agreement with the full network, KL
efficientnet  EfficientNet-Lite0 on squares of photographs that none calibrates with: agreement and KL (nothing is labelled)
minilm        a text encoder: probes of ``minilm.py``, fitted to the full network and frozen, and cosine to its embeddings

All methods have the same levels (2^b - 1, symmetric, a step a row), each layer the clipping of least error on batches held out
from calibration, batch norms folded, biases corrected. "absmax" is what is done without any data: each row rounded to 2^b - 1
levels up to its largest weight.

``--total``: bits a value of everything stored, scales of 16 bits. Each layer has the highest rate that keeps within; levels on
a grid are whole, so that some take less. There are then also a trellis on every row of the weights, the same on their columns
with error feedback, and ``near_democratic``; biases are corrected for all of them.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from evenbits.networks import Dense, ReLU, quantize_network
from evenbits.networks.batches import batches_of
from evenbits.networks.layers import Layer
from evenbits.networks.quantize import open_network
from evenbits.quantizers import method_named, within_budget

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "absmax": ("nearest", {"clip": 1.0, "per": "row", "radius": "maximum", "bias_correction": False, "fold": False}),
    "nearest": ("nearest", {}),
    "error feedback": ("error_feedback", {}),
    "GPFQ": ("path_following", {}),
    "SPFQ": ("path_following", {"rounding": "stochastic"}),
}
TOTAL: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (way[0], way[1] | {"per": "row", "scale_dtype": "float16"}) for name, way in WAYS.items() if name != "absmax"},
    "near_democratic": ("near_democratic", {"scale_dtype": "float16"}),
    "trellis": ("trellis", {"scale_dtype": "float16"}),
    "trellis, feedback": ("trellis_feedback", {"scale_dtype": "float16"}),
    "trellis of 2^16, feedback": ("trellis_feedback", {"scale_dtype": "float16", "memory": 16}),
}
"""What is compared at equal totals."""
Row = dict[str, float]


def rows(
    model: Any, calibration: Any, judge: Callable[[Any], Row], arguments: argparse.Namespace, **options: Any
) -> Iterator[tuple[str, str, Row]]:
    """A row for the full network, and one for each way and rate."""
    yield "float32", "", judge(model)
    ways = TOTAL if arguments.total else WAYS
    for bits in arguments.total or arguments.bits:
        for name in arguments.methods or ways:
            method, own = ways[name]
            rates: Any = float(bits)
            if arguments.total:
                rates = within(open_network(model, batches_of(calibration, 64)).layers, rates, method, own)
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of layers for which there are too few data
                made = quantize_network(model, calibration, rates, method, **(options | own))
            seconds = time.process_time() - start
            held = [report.held_out_error for report in made.layers]
            row = judge(made.model) | {"layer error": float(np.mean(held)) if None not in held else np.nan}
            yield name, bits, row | {"bits a value": made.bits_per_value, "CPU s": seconds}


def within(layers: Iterable[Layer], total: float, method: str, options: dict[str, Any]) -> dict[str, Any]:
    """Rates of layers by their names."""
    kind, shapes = method_named(method), {layer.name: layer.matrix.shape for layer in layers}
    made = {shape: within_budget(kind, shape, "float32", total, **options).bits for shape in set(shapes.values())}
    return {name: made[shape] for name, shape in shapes.items()}


def mlp(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Row]]:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    runs = []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(labels))
        x, y = images[order] / 16, labels[order]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = MLPClassifier((256, 256), max_iter=300, random_state=seed, alpha=1e-4).fit(x[:1200], y[:1200])
        layers: list[Any] = []
        for weight, bias in zip(fitted.coefs_, fitted.intercepts_, strict=True):
            layers += [Dense(weight.T, bias), ReLU()]
        layers.pop()
        runs.append(rows(layers, x[:1200], digits_judge(layers, x[1200:], y[1200:]), arguments, batch=100, per="tensor"))
    for same in zip(*runs, strict=True):
        first = {"accuracy, first": same[0][2]["accuracy"]}
        yield *same[0][:2], first | {key: float(np.mean([row[key] for _, _, row in same])) for key in same[0][2]}


def digits_judge(layers: list[Any], x: np.ndarray, y: np.ndarray) -> Callable[[list[Any]], Row]:
    def logits(model: list[Any]) -> np.ndarray:
        z = x
        for layer in model:
            z = layer(z)
        return z

    full = logits(layers)

    def judge(model: list[Any]) -> Row:
        found = logits(model)
        error = float(np.linalg.norm(found - full) / np.linalg.norm(full))
        return {"accuracy": float(np.mean(found.argmax(1) == y)), "logit error": error}

    return judge


def scores(model: torch.nn.Module, x: torch.Tensor, full: torch.Tensor) -> tuple[torch.Tensor, Row]:
    with torch.inference_mode():
        logits = torch.cat([model(part) for part in x.split(100)])
    kl = functional.kl_div(logits.log_softmax(-1), full.softmax(-1), reduction="batchmean") if len(full) else torch.zeros(())
    agreement = float((logits.argmax(1) == full.argmax(1)).float().mean()) if len(full) else 1.0
    return logits, {"agreement": agreement, "KL": float(kl)}


def mnist(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Row]]:
    import vision

    model, x, _, held, labels = vision.digits()
    full = scores(model, held, torch.empty(0, 10))[0]

    def judge(made: torch.nn.Module) -> Row:
        logits, row = scores(made, held, full)
        return {"top-1": float((logits.argmax(1) == labels).float().mean())} | row

    return rows(model, x[: arguments.images or 1024], judge, arguments)


def efficientnet(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Row]]:
    import vision

    model = vision.efficientnet()
    calibration, held = vision.crops(arguments.images or 8, 1), vision.crops(8, 0)
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(len(calibration)))
    full = scores(model, held, torch.empty(0, 1000))[0]
    return rows(model, calibration[shuffled], lambda made: scores(made, held, full)[1], arguments, batch=8, rows=4096)


def minilm(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Row]]:
    import bert
    import packages
    from minilm import Encoder, Judge

    path = packages.minilm() / "model.safetensors"
    model, tokenizer = bert.load(path), path.with_name("tokenizer.json")
    texts_and_mails = ((600, 300), (300, 200)) if arguments.quick else ((2000, 1500), (600, 600))
    judge = Judge(Encoder(tokenizer, model.state_dict()), *texts_and_mails)
    texts, _ = packages.movie_snippets()
    order = np.random.default_rng(0).permutation(len(texts))
    seen = bert.batches([texts[i] for i in order[3500 : 3500 + (arguments.images or 1500)]], tokenizer)
    shuffled = [seen[i] for i in np.random.default_rng(0).permutation(len(seen))]
    return rows(model, shuffled, lambda made: judge(Encoder(tokenizer, made.state_dict())), arguments, rows=8192)


NETWORKS = {"mlp": mlp, "mnist": mnist, "efficientnet": efficientnet, "minilm": minilm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", choices=[*NETWORKS, []], metavar="NETWORK")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--bits", nargs="+", default=["2", "3", "4", "5"], metavar="B", help="of a code (default: 2 3 4 5)")
    rate.add_argument("--total", nargs="+", metavar="B", help="bits a value of everything stored")
    ways = dict.fromkeys([*WAYS, *TOTAL])
    parser.add_argument("--methods", nargs="+", choices=ways, metavar="NAME", help=", ".join(ways))
    parser.add_argument("--quick", action="store_true", help="fewer texts")
    parser.add_argument("--images", type=int, help="images to calibrate with (squares a photograph, sentences)")
    arguments = parser.parse_args()
    for name in arguments.methods or ():
        if name not in (TOTAL if arguments.total else WAYS):
            parser.error(f"{name} is for {'--bits' if arguments.total else '--total'}")
    torch.set_num_threads(1)
    for name in arguments.networks or NETWORKS:
        print(f"\n{name}\n")
        for number, (way, bits, row) in enumerate(NETWORKS[name](arguments)):
            if number == 1:
                heads = [*row]
                print(f"| | bits | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}")
            cells = [f"{row[key]:.4f}" for key in row]
            print(f"| {way} | {bits} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
