"""What few bits do to the outputs of a text encoder's layers: |X (W - W')^T| / |X W^T| of MiniLM's 36 dense layers.

    python bench/experiments/layer_outputs.py [--total B ...] [--methods NAME ...]

X are inputs of the layer in the full network on sentences that none calibrates with; methods and budgets are those of
``networks.py --total``. Errors are root mean squares over the six layers of a kind, and over all.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator

import bert
import numpy as np
import packages
import torch
from networks import TOTAL, within

from evenbits.networks.batches import batches_of
from evenbits.networks.encode import encoder_of
from evenbits.networks.layers import Layer
from evenbits.networks.quantize import open_network
from evenbits.networks.seen import Seen

KINDS = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")


def layers(sentences: int) -> Iterator[tuple[Layer, Seen]]:
    """The layers and what they see in the full network, every fifth batch held out."""
    path = packages.minilm() / "model.safetensors"
    texts, _ = packages.movie_snippets()
    order = np.random.default_rng(0).permutation(len(texts))
    seen = bert.batches([texts[i] for i in order[3500 : 3500 + sentences]], path.with_name("tokenizer.json"))
    batches = batches_of([seen[i] for i in np.random.default_rng(0).permutation(len(seen))], 64)
    network = open_network(bert.load(path), batches)
    for number, (layer, pairs) in enumerate(network.walk(batches, {layer.name for layer in network.layers})):
        yield layer, Seen(layer, pairs, len(batches), rows=8192, hold=5, seed=0, stream=number, same=False)


def kind_of(name: str) -> str:
    return next(kind for kind in KINDS if name.removesuffix(".weight").endswith(kind))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", nargs="+", default=["2", "3"], metavar="B")
    parser.add_argument("--methods", nargs="+", default=list(TOTAL), choices=TOTAL, metavar="NAME", help=", ".join(TOTAL))
    parser.add_argument("--sentences", type=int, default=600)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", RuntimeWarning)
    cases = [(total, name) for total in arguments.total for name in arguments.methods]
    errors: dict[tuple[str, str], dict[str, list[float]]] = {case: {kind: [] for kind in KINDS} for case in cases}
    taken = dict.fromkeys(cases, 0)
    seconds, values = dict.fromkeys(cases, 0.0), 0
    for number, (layer, seen) in enumerate(layers(arguments.sentences)):
        values += layer.matrix.size
        for case in cases:
            method, own = TOTAL[case[1]]
            rate = within([layer], float(case[0]), method, own)[layer.name]
            start = time.process_time()
            made = encoder_of(method, own, 0, 1)(layer, seen, rate, number).encoded
            seconds[case] += time.process_time() - start
            taken[case] += made.nbytes
            error = seen.held_out_error(made.decode().reshape(layer.matrix.shape))
            assert error is not None
            errors[case][kind_of(layer.name)].append(error)
    print(f"| | bits a value | {' | '.join(KINDS)} | all | CPU s |\n|---|---|{'---|' * (len(KINDS) + 2)}")
    for case in cases:
        each = [np.square(errors[case][kind]).mean() ** 0.5 for kind in KINDS]
        total = np.square(np.concatenate(list(errors[case].values()))).mean() ** 0.5
        cells = [f"{8 * taken[case] / values:.3f}", *(f"{e:.4f}" for e in (*each, total)), f"{seconds[case]:.1f}"]
        print(f"| {case[1]}, {case[0]} bits | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
