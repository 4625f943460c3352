"""What few-bit weights cost a real text encoder: all-MiniLM-L6-v2, 22.7 M values, quantized by the command ``evenbits``.

    python bench/experiments/minilm.py [--methods NAME ...] [--bits B ... | --total B ...] [--quick] [--json FILE]
    python bench/experiments/minilm.py --same-bytes

Scores of the decoded model, all on texts that no probe has seen. The probes are frozen: fitted to embeddings of the float32
model alone (refitted ones would forgive much of the damage).
  sentiment   is the sentence of a film review positive or negative: accuracy of logistic regression
  rating      its mean rating by 20 people: R² of ridge regression
  spam        is the mail spam: accuracy of logistic regression
  words       WordSim-353: Spearman's correlation of cosines with people's judgements, no probe
  texts       Lee's 50 news texts: Pearson's correlation of cosines with people's judgements, no probe
  cosine      mean cosine of the embeddings to those of the float32 model
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import packages
import torch
from command import run
from models import EQUAL_TOTAL, SHOWN, WAYS, Case, Weights, judged, sha256
from safetensors.torch import load_file
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from tokenizers import Tokenizer
from torch.nn import functional

EMBEDDINGS = ("--include=*_embeddings.weight",)  # the command keeps them unless told
HEADS, WIDTH = 12, 384


class Encoder:
    """Texts to unit vectors: BERT, six layers, the mean of the last layer's tokens."""

    def __init__(self, tokenizer: Path, weights: Weights) -> None:
        self.tokenizer, self.weights = Tokenizer.from_file(str(tokenizer)), weights
        self.tokenizer.enable_padding()

    @torch.inference_mode()
    def __call__(self, texts: list[str], most_tokens: int, batch: int = 64) -> np.ndarray:
        self.tokenizer.enable_truncation(most_tokens)
        result = np.empty((len(texts), WIDTH), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding in a batch
        for start in range(0, len(texts), batch):
            rows = order[start : start + batch]
            tokens = self.tokenizer.encode_batch([texts[i] for i in rows])
            result[rows] = self._forward(*(torch.tensor([getattr(t, n) for t in tokens]) for n in ("ids", "attention_mask")))
        return result

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
        word, position, kind = (self.weights[f"embeddings.{n}_embeddings.weight"] for n in ("word", "position", "token_type"))
        x = self._normalize("embeddings", word[ids] + position[: ids.shape[1]] + kind[0])
        for layer in range(6):
            at = f"encoder.layer.{layer}"
            query, key, value = (
                self._linear(f"{at}.attention.self.{n}", x).unflatten(2, (HEADS, -1)).transpose(1, 2)
                for n in ("query", "key", "value")
            )
            seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None].bool())
            mixed = self._linear(f"{at}.attention.output.dense", seen.transpose(1, 2).flatten(2))
            x = self._normalize(f"{at}.attention.output", x + mixed)
            inner = functional.gelu(self._linear(f"{at}.intermediate.dense", x))
            x = self._normalize(f"{at}.output", x + self._linear(f"{at}.output.dense", inner))
        return functional.normalize((x * mask[..., None]).sum(1), dim=1).numpy()

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _normalize(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weights[f"{name}.LayerNorm.weight"], self.weights[f"{name}.LayerNorm.bias"]
        return functional.layer_norm(x, (WIDTH,), weight, bias, 1e-12)


class Judge:
    """The tasks, with probes fitted to the float32 model's embeddings of the first part of the texts."""

    def __init__(self, full: Encoder, movies: tuple[int, int], mails: tuple[int, int]) -> None:
        seen, seen_rating, self.movies, self.rating = _split(*packages.movie_snippets(), movies)
        seen_mails, seen_spam, self.mails, self.spam = _split(*packages.mails(), mails)
        first, second, self.word_likeness = packages.word_pairs()
        self.words = first + second
        self.texts, self.text_likeness = packages.lee_documents()

        x, clear = full(seen, 48), np.abs(seen_rating) >= 0.5
        self.clear = np.abs(self.rating) >= 0.5
        self.sentiment_probe = LogisticRegression(C=10, max_iter=2000).fit(x[clear], seen_rating[clear] > 0)
        self.rating_probe = Ridge(0.1).fit(x, seen_rating)
        self.spam_probe = LogisticRegression(C=10, max_iter=2000).fit(full(seen_mails, 64), seen_spam)
        self.full = self._embed(full)

    def _embed(self, encoder: Encoder) -> list[np.ndarray]:
        return [encoder(self.movies, 48), encoder(self.mails, 64), encoder(self.words, 16), encoder(self.texts, 128)]

    def __call__(self, encoder: Encoder) -> dict[str, float]:
        movies, mails, words, texts = vectors = self._embed(encoder)
        first, second = np.split(words, 2)
        pairs = np.triu_indices(len(texts), 1)
        cosines = [(a * b).sum(axis=1) for a, b in zip(vectors, self.full, strict=True)]
        return {
            "sentiment": self.sentiment_probe.score(movies[self.clear], self.rating[self.clear] > 0),
            "rating": self.rating_probe.score(movies, self.rating),
            "spam": self.spam_probe.score(mails, self.spam),
            "words": float(spearmanr((first * second).sum(axis=1), self.word_likeness)[0]),
            "texts": float(np.corrcoef((texts @ texts.T)[pairs], self.text_likeness[pairs])[0, 1]),
            "cosine": float(np.concatenate(cosines).mean()),
        }

    def __str__(self) -> str:
        return f"{len(self.movies)} sentences ({self.clear.sum()} positive or negative), {len(self.mails)} mails"


def _split(texts: list[str], values: np.ndarray, sizes: tuple[int, int]) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Texts to learn from and texts held out, drawn at random."""
    order = np.random.default_rng(0).permutation(len(texts))[: sum(sizes)]
    learn, hold = order[: sizes[0]], order[sizes[0] :]
    return [texts[i] for i in learn], values[learn], [texts[i] for i in hold], values[hold]


def cases(arguments: argparse.Namespace) -> list[Case]:
    """Those asked for; by default every method at 4 bits, 3 and 2, and the best with the embeddings quantized too."""
    ways = EQUAL_TOTAL if arguments.total else WAYS
    rates, flag = (arguments.total, "--budget") if arguments.total else (arguments.bits or ["4", "3", "2"], "--bits")
    unknown = set(arguments.methods or ()) - set(ways)
    if unknown:
        raise SystemExit(f"no method {', '.join(sorted(unknown))}; there are: {'; '.join(ways)}")
    chosen = [Case(name, rate, ways[name], flag) for rate in rates for name in arguments.methods or ways]
    if not (arguments.methods or arguments.bits or arguments.total or arguments.same_bytes):
        chosen.append(Case("near_democratic, embeddings too", "4", (*WAYS["near_democratic"], *EMBEDDINGS)))
    return chosen


def line(row: dict[str, Any]) -> str:
    """A row of the table; the float32 model was not quantized and has no costs."""
    scores = [f"{row[name]:.3f}" for name in ("sentiment", "rating", "spam", "words", "texts")] + [f"{row['cosine']:.4f}"]
    size = f"{row['bytes'] / 1e6:.1f}"
    if "sha256" not in row:
        cells = [row["method"], "", "", "32", size, "", *scores, "", "", ""]
    else:
        rate = [f"{row['bits']:g}", f"{row['values'] / 1e6:.2f} M", f"{row['bits_per_value']:.3f}", size, f"{row['error']:.4f}"]
        costs = [f"{row['seconds']:.2f}", f"{row['cpu_seconds']:.2f}", f"{row['peak_bytes'] / 1e6:.0f}"]
        cells = [row["method"], *rate, *scores, *costs]
    return f"| {' | '.join(cells)} |"


def table(model: Path, arguments: argparse.Namespace) -> None:
    weights, tokenizer = load_file(model), model.with_name("tokenizer.json")
    judge = Judge(Encoder(tokenizer, weights), *(((600, 300), (300, 200)) if arguments.quick else ((2000, 1500), (600, 600))))
    print(f"{sum(w.numel() for w in weights.values())} values; held out: {judge}\n", flush=True)
    head = ["method", "bits", "quantized", "bits a value", "MB", "weight error"]
    head += ["sentiment", "rating", "spam", "words", "texts", "cosine", "s", "CPU s", "peak MB"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    row: dict[str, Any] = {"method": "float32", "bytes": model.stat().st_size, **judge(Encoder(tokenizer, weights))}
    print(line(row), flush=True)
    rows = []
    for row in judged(model, weights, cases(arguments), arguments, lambda w: judge(Encoder(tokenizer, w))):
        print(line(row), flush=True)
        rows.append(row)
    if arguments.plot:
        plot(rows, arguments.plot)


def plot(rows: list[dict[str, Any]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.5), layout="constrained")
    names = list(dict.fromkeys(row["method"] for row in rows))
    for name in [name for name in SHOWN if name in names] or names:
        mine = sorted((row for row in rows if row["method"] == name), key=lambda row: row["bits_per_value"])
        for axis, key in zip(axes, ("error", "cosine", "words"), strict=True):
            style = "s:" if name.startswith("uniform") else "D--" if name in ("trellis", "dead_zone") else "o-"
            axis.plot([row["bits_per_value"] for row in mine], [row[key] for row in mine], style, label=name, markersize=4)
    for axis, label in zip(axes, ("|W − W'| / |W|", "mean cosine to float32", "wordsim353 ρ"), strict=True):
        axis.set(xlabel="bits a value, all included", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=5, loc="outside lower center")
    figure.savefig(path, dpi=110)


def same_bytes(model: Path, chosen: list[Case]) -> None:
    """Quantize on every instruction set of the machine with 1, 2 and 7 threads, and demand one SHA-256 a method."""
    from evenbits._core import available_isas

    isas, threads = available_isas(), ("1", "2", "7")
    print(f"instruction sets {', '.join(isas)}; threads {', '.join(threads)}")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "codes.safetensors")
        for case in chosen:
            found: dict[str, list[str]] = {}
            for isa in isas:
                for n in threads:
                    choices = (case.measure, case.rate, *case.arguments, f"--workers={n}", "--force", "--output", str(output))
                    run("quantize", str(model), *choices, EVENBITS_ISA=isa)
                    found.setdefault(sha256(output), []).append(f"{isa} x {n}")
            if len(found) > 1:
                raise AssertionError(f"{case.name}, {case.rate} bits: {found}")
            print(f"{next(iter(found))}  {case.name}, {case.rate} bits: {len(isas) * len(threads)} runs", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", metavar="NAME", help=f"of: {'; '.join(WAYS)}")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--bits", nargs="+", metavar="B", help="index bits a value (default: 4 3 2)")
    rate.add_argument("--total", nargs="+", metavar="B", help="other methods, at equal bits a value of everything stored")
    parser.add_argument("--seed", type=int, default=0, help="of signs, for the methods that rotate (default: 0)")
    parser.add_argument("--quick", action="store_true", help="fewer texts")
    parser.add_argument("--runs", type=int, default=3, help="of each command; the least time counts (default: 3)")
    parser.add_argument("--workers", default="1", help="threads of the command (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="save the rows, with more columns; those it has are not made again")
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--same-bytes", action="store_true", help="compare instruction sets and threads instead")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # faster than more, unless the machine is idle
    model = packages.minilm() / "model.safetensors"
    if arguments.same_bytes:
        arguments.bits = arguments.bits or ["4"]
        same_bytes(model, cases(arguments))
        return
    table(model, arguments)


if __name__ == "__main__":
    main()
