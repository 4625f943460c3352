"""all-MiniLM-L6-v2 as a module of PyTorch with the names of its file, for sentences of equal length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional

HEADS, WIDTH, INNER = 12, 384, 1536


def group(**modules: nn.Module) -> Any:
    """Modules under names."""
    made = nn.Module()
    for name, module in modules.items():
        made.add_module(name, module)
    return made


def residual(inputs: int) -> Any:
    return group(dense=nn.Linear(inputs, WIDTH), LayerNorm=nn.LayerNorm(WIDTH, 1e-12))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        heads = group(**{name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")})
        self.attention = group(self=heads, output=residual(WIDTH))
        self.intermediate, self.output = group(dense=nn.Linear(WIDTH, INNER)), residual(INNER)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads: Any = getattr(self.attention, "self")  # noqa: B009
        query, key, value = (m(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for m in (heads.query, heads.key, heads.value))
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self.attention.output.LayerNorm(x + self.attention.output.dense(mixed))
        y: torch.Tensor = self.output.LayerNorm(x + self.output.dense(functional.gelu(self.intermediate.dense(x))))
        return y


class MiniLM(nn.Module):
    """Tokens (sentences, length) to unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        tables = {"word": 30522, "position": 512, "token_type": 2}
        embeddings = {f"{name}_embeddings": nn.Embedding(count, WIDTH) for name, count in tables.items()}
        self.embeddings = group(**embeddings, LayerNorm=nn.LayerNorm(WIDTH, 1e-12))
        self.encoder = group(layer=nn.ModuleList(Block() for _ in range(6)))

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        e = self.embeddings
        x = e.LayerNorm(e.word_embeddings(tokens) + e.position_embeddings(places) + e.token_type_embeddings(places * 0))
        for block in self.encoder.layer:
            x = block(x)
        return functional.normalize(x.mean(1), dim=1)


def load(path: Path) -> MiniLM:
    """The network of a safetensors file; its pooler is not used."""
    model = MiniLM()
    tensors = {name: tensor for name, tensor in load_file(path).items() if name in model.state_dict()}
    model.load_state_dict(tensors)
    return model.eval()


Batch = tuple[torch.Tensor, torch.Tensor]


def batches(texts: list[str], tokenizer: Path, *, most_tokens: int = 48, size: int = 16) -> list[Batch]:
    """Batches of sentences with equally many tokens, so that none is filled up; what is left over of a length is left out."""
    coder = Tokenizer.from_file(str(tokenizer))
    coder.no_padding()
    coder.enable_truncation(most_tokens)
    lengths: dict[int, list[list[int]]] = {}
    for encoding in coder.encode_batch(texts):
        lengths.setdefault(len(encoding.ids), []).append(encoding.ids)
    out = []
    for _, rows in sorted(lengths.items()):
        for i in range(0, len(rows) - size + 1, size):
            tokens = torch.tensor(rows[i : i + size])
            out.append((tokens, torch.arange(tokens.shape[1]).expand_as(tokens).contiguous()))
    return out
