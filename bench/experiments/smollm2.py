"""What few-bit weights cost a language model: SmolLM2-135M-Instruct, the 210 matrices of its layers, 106 M values.

    python bench/experiments/smollm2.py [--total B ...] [--methods NAME ...] [--tokens 2048] [--json FILE] [--plot FILE]

Perplexity, and how often the likeliest token is the right one, on text of Wikipedia, in windows of 512 tokens; every method
has the same bits a value of everything stored. The published file is in 4 bits already (groups of 32), on which other grids
of 4 bits look lossless; so the model is first rewritten, with the same outputs, until no weight lies on that grid:
``rewritten``. The text was surely seen in training. Both are fit for degradation, not to say how good the model is.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import packages
import torch
from models import EQUAL_TOTAL, SHOWN, Case, Weights, judged
from safetensors.torch import save_file
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from torch.nn import functional

LAYERS, HEADS, KEY_HEADS, WIDTH, HEAD = 30, 9, 3, 576, 64
LINEAR = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
CONTEXT = 512


def load() -> tuple[Weights, Tokenizer]:
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(packages.smollm2())
    weights = {t.name: torch.from_numpy(np.array(dequantize(t.data, t.tensor_type), np.float32)) for t in reader.tensors}
    words, merges = (reader.fields[f"tokenizer.ggml.{n}"].contents() for n in ("tokens", "merges"))
    tokenizer = Tokenizer(BPE({w: i for i, w in enumerate(words)}, [tuple(m.split(" ")) for m in merges]))
    digits, pieces = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pieces])
    return weights, tokenizer


def rewritten(weights: Weights) -> Weights:
    """The same function by other numbers.

    The factors of each norm go into the matrices behind it, rows of ffn_up and columns of ffn_down are balanced, and each
    head's values are rotated, with attn_output against it.
    """
    random = torch.Generator().manual_seed(0)
    w = {name: value.clone() for name, value in weights.items()}
    w["output.weight"] = w["token_embd.weight"] * w["output_norm.weight"]
    w["output_norm.weight"] = torch.ones(WIDTH)
    for i in range(LAYERS):
        at = f"blk.{i}."
        for norm, behind in (("attn_norm", LINEAR[:3]), ("ffn_norm", LINEAR[4:6])):
            for name in behind:
                w[f"{at}{name}.weight"] *= w[f"{at}{norm}.weight"]
            w[f"{at}{norm}.weight"] = torch.ones(WIDTH)
        up, down = w[at + "ffn_up.weight"], w[at + "ffn_down.weight"]
        ratio = (down.abs().mean(0) / up.abs().mean(1)).sqrt()
        up *= ratio[:, None]
        down /= ratio
        value = w[at + "attn_v.weight"].double().view(KEY_HEADS, HEAD, WIDTH)
        output = w[at + "attn_output.weight"].double().view(WIDTH, HEADS, HEAD)
        turn = torch.linalg.qr(torch.randn(KEY_HEADS, HEAD, HEAD, generator=random, dtype=torch.float64))[0]
        each = turn.repeat_interleave(HEADS // KEY_HEADS, 0)
        w[at + "attn_v.weight"] = (turn @ value).reshape(-1, WIDTH).float()
        w[at + "attn_output.weight"] = torch.einsum("whi,hoi->who", output, each).reshape(WIDTH, -1).float()
    return w


@torch.inference_mode()
def logits(w: Weights, ids: torch.Tensor) -> torch.Tensor:
    angle = torch.arange(ids.shape[1]).float()[:, None] / 100_000 ** (torch.arange(0, HEAD, 2).float() / HEAD)
    cos, sin = angle.cos(), angle.sin()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w[f"{name}_norm.weight"]

    def heads(x: torch.Tensor, name: str, number: int) -> torch.Tensor:
        return functional.linear(x, w[f"{name}.weight"]).unflatten(2, (number, HEAD)).transpose(1, 2)

    def positioned(x: torch.Tensor) -> torch.Tensor:  # pairs lie side by side, as in llama.cpp
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

    h = w["token_embd.weight"][ids]
    for i in range(LAYERS):
        at = f"blk.{i}."
        x = norm(h, at + "attn")
        query, key = positioned(heads(x, at + "attn_q", HEADS)), positioned(heads(x, at + "attn_k", KEY_HEADS))
        value = heads(x, at + "attn_v", KEY_HEADS)
        key, value = (t.repeat_interleave(HEADS // KEY_HEADS, 1) for t in (key, value))
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        h = h + functional.linear(seen.transpose(1, 2).flatten(2), w[at + "attn_output.weight"])
        x = norm(h, at + "ffn")
        inner = functional.silu(functional.linear(x, w[at + "ffn_gate.weight"])) * functional.linear(x, w[at + "ffn_up.weight"])
        h = h + functional.linear(inner, w[at + "ffn_down.weight"])
    return functional.linear(norm(h, "output"), w.get("output.weight", w["token_embd.weight"]))


def scores(w: Weights, windows: torch.Tensor) -> dict[str, float]:
    """Perplexity and accuracy of the next token."""
    loss, right = 0.0, 0
    for window in windows:
        guess, truth = logits(w, window[None])[0, :-1], window[1:]
        loss += functional.cross_entropy(guess, truth, reduction="sum").item()
        right += int((guess.argmax(-1) == truth).sum())
    count = windows.numel() - len(windows)
    return {"perplexity": math.exp(loss / count), "accuracy": right / count}


def line(row: dict[str, Any]) -> str:
    cells = [row["method"], *(f"{row[n]:.3f}" if n in row else "" for n in ("bits", "bits_per_value"))]
    cells += [f"{row['error'] ** 2:.4f}" if "error" in row else "", f"{row['perplexity']:.4g}", f"{row['accuracy']:.3f}"]
    cells += [f"{row['cpu_seconds']:.1f}" if "values" in row else ""]
    return f"| {' | '.join(cells)} |" + (f" {row['other_methods']} matrices by its fallback" if row.get("other_methods") else "")


def plot(rows: list[dict[str, Any]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (error, perplexity) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    names = {row["method"] for row in rows if "error" in row}
    for name in filter(names.__contains__, SHOWN):
        mine = sorted((row for row in rows if row["method"] == name), key=lambda row: row["bits_per_value"])
        style = "s:" if name.startswith("uniform") else "D--" if name in ("trellis", "dead_zone") else "o-"
        rates = [row["bits_per_value"] for row in mine]
        error.semilogy(rates, [row["error"] ** 2 for row in mine], style, label=name, markersize=4)
        perplexity.loglog(rates, [row["perplexity"] for row in mine], style, label=name, markersize=4)
    perplexity.axhline(rows[0]["perplexity"], color="k", linestyle="--", label="float32")
    error.set(xlabel="bits a value, all included", ylabel="|W − W'|² / |W|²")
    ticks = (1.5, 2, 2.5, 3, 4)
    perplexity.set(xlabel="bits a value, all included", ylabel="perplexity", xticks=ticks, xticklabels=[f"{t:g}" for t in ticks])
    perplexity.set_xticks((), minor=True)
    for axis in (error, perplexity):
        axis.grid(alpha=0.3)
    figure.legend(*perplexity.get_legend_handles_labels(), fontsize=8, ncols=5, loc="outside lower center")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", nargs="+", default=["4", "3", "2"], metavar="B", help="bits a value, all included")
    parser.add_argument("--methods", nargs="+", choices=EQUAL_TOTAL, default=list(EQUAL_TOTAL), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, help="of the methods' random numbers (default: 0)")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--workers", default="1", help="threads of the command (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="save the rows, with more columns; those it has are not made again")
    parser.add_argument("--plot", metavar="FILE")
    arguments = parser.parse_args()
    arguments.runs = 1
    torch.set_num_threads(1)
    published, tokenizer = load()
    text = packages.wikipedia()[: 8 * arguments.tokens]
    windows = torch.tensor(tokenizer.encode(text).ids[: arguments.tokens]).view(-1, CONTEXT)
    weights = rewritten(published)
    matrices = {name: weights[name] for name in weights if name.split(".")[-2] in LINEAR}
    rows: list[dict[str, Any]] = [
        {"method": "float32, rewritten", **scores(weights, windows)},
        {"method": "the file as published", **scores(published, windows)},
    ]
    print(f"{len(matrices)} matrices of {sum(w.numel() for w in matrices.values())} values, {windows.numel()} tokens\n")
    head = ["method", "index bits", "bits a value", "squared error", "perplexity", "accuracy", "CPU s"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    print(*map(line, rows), sep="\n", flush=True)
    cases = [Case(name, rate, EQUAL_TOTAL[name], "--budget") for rate in arguments.total for name in arguments.methods]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "matrices.safetensors")
        save_file(matrices, model)
        for row in judged(model, matrices, cases, arguments, lambda w: scores(weights | w, windows)):
            print(line(row), flush=True)
            rows.append(row)
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
