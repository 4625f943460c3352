"""Sentence embeddings of real texts, kept beside the models they were made with: 384 numbers each, by all-MiniLM-L6-v2.

python bench/experiments/embeddings.py          # once: some minutes, with torch, tokenizers and safetensors
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import packages

REVIEWS, MAILS = 4000, 2000
TOKENS = 48


def load() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """ "sentiment" (film reviews: positive or not) and "spam" (mails): rows of float32, and classes 0 and 1, in random order."""
    path = packages.minilm() / "embeddings.npz"
    if not path.exists():
        make(path)
    with np.load(path) as kept:
        return {name: (kept[f"{name}_x"], kept[f"{name}_y"]) for name in ("sentiment", "spam")}


def make(path: Path) -> None:
    import torch
    from minilm import Encoder
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    model = packages.minilm()
    encoder = Encoder(model / "tokenizer.json", load_file(model / "model.safetensors"))
    texts, ratings = packages.movie_snippets()
    mails, spam = packages.mails()
    order = np.random.default_rng(0).permutation(len(texts))
    clear = [i for i in order if abs(ratings[i]) > 0.5][:REVIEWS]
    some = np.random.default_rng(1).permutation(len(mails))[:MAILS]
    np.savez(
        path,
        sentiment_x=encoder([texts[i] for i in clear], TOKENS).astype(np.float32),
        sentiment_y=(ratings[clear] > 0).astype(np.int64),
        spam_x=encoder([mails[i] for i in some], TOKENS).astype(np.float32),
        spam_y=np.asarray(spam)[some].astype(np.int64),
    )


if __name__ == "__main__":
    for name, (x, y) in load().items():
        print(f"{name}: {x.shape[0]} rows of {x.shape[1]}, {y.mean():.3f} of class 1")
