"""Two convolutional networks as modules of PyTorch: a small one trained here on MNIST, and EfficientNet-Lite0 as published."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import packages
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

PIXELS = 224


class Block(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Digits(nn.Module):
    """A residual network of 144 thousand weights for 28 x 28 images."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.b1, self.r1 = Block(1, width), Block(width, 2 * width), Block(2 * width, 2 * width)
        self.b2, self.r2 = Block(2 * width, 4 * width), Block(4 * width, 4 * width)
        self.fc, self.out = nn.Linear(4 * width * 9, 128), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.b1(functional.max_pool2d(self.stem(x), 2))
        x = self.b2(functional.max_pool2d(x + self.r1(x), 2))
        x = functional.max_pool2d(x + self.r2(x), 2)
        logits: torch.Tensor = self.out(functional.relu(self.fc(x.flatten(1))))
        return logits


def digits(epochs: int = 4) -> tuple[Digits, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The network, trained once on 8,000 images and then kept; images and labels to learn from, and 2,000 held out."""
    images, labels = packages.mnist()
    order = np.random.default_rng(0).permutation(len(images))
    x, y = torch.tensor(images[order])[:, None], torch.tensor(labels[order])
    torch.manual_seed(0)
    model = Digits()
    path = Path(os.environ.get("EVENBITS_DATA") or Path.home() / ".cache" / "evenbits-data", "mnist-cnn.pt")
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval(), x[:8000], y[:8000], x[8000:], y[8000:]
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * 63)
    for _ in range(epochs):
        shuffled = torch.randperm(8000)
        for i in torch.split(shuffled, 128):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[i]), y[i]).backward()
            optimizer.step()
            schedule.step()
    torch.save(model.state_dict(), path)
    return model.eval(), x[:8000], y[:8000], x[8000:], y[8000:]


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    """Padding (as TensorFlow's for even sizes: more on the right), convolution, batch norm and, unless told, ReLU6."""
    total = max(kernel - stride, 0)
    layers: list[nn.Module] = [nn.ZeroPad2d((total // 2, total - total // 2) * 2)] if total else []
    layers += [nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(outputs, 1e-3)]
    return nn.Sequential(*layers, *([nn.ReLU6()] if act else []))


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = inputs * expand
        wide = [convolution(inputs, inner, 1)] if expand > 1 else []
        self.body = nn.Sequential(
            *wide, convolution(inner, inner, kernel, stride, inner), convolution(inner, outputs, 1, act=False)
        )
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return x + y if self.skips else y


STAGES = (
    (1, 16, 3, 1, 1), (2, 24, 3, 2, 6), (2, 40, 5, 2, 6), (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6), (4, 192, 5, 2, 6), (1, 320, 3, 1, 6),
)  # fmt: skip
"""Repeats, channels, kernel, stride of the first, expansion."""


class EfficientNet(nn.Module):
    """EfficientNet-Lite0: 224 x 224 images in colour, from -1 to 1, to 1,000 classes of ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        blocks, width = [], 32
        for repeats, channels, kernel, stride, expand in STAGES:
            for i in range(repeats):
                blocks.append(Bottleneck(width, channels, kernel, stride if i == 0 else 1, expand))
                width = channels
        self.stem, self.blocks, self.head = convolution(3, 32, 3, 2), nn.Sequential(*blocks), convolution(320, 1280, 1)
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.head(self.blocks(self.stem(x))).mean((2, 3)))
        return logits


def efficientnet() -> EfficientNet:
    """The network with its published weights, which lie in the order in which they are used."""
    published = torch.load(packages.efficientnet(), map_location="cpu", weights_only=True)
    model = EfficientNet()
    own = model.state_dict()
    if len(own) != len(published):
        raise RuntimeError(f"the checkpoint has {len(published)} tensors, the network {len(own)}")
    pairs = zip(own.items(), published.values(), strict=True)
    model.load_state_dict({name: tensor.reshape(like.shape) for (name, like), tensor in pairs})
    return model.eval()


def crops(count: int, part: int) -> torch.Tensor:
    """``count`` random squares of every second colour photograph, resized: of part 0 or of part 1."""
    rng, out = np.random.default_rng(part), []
    images = [image for image in map(Image.open, packages.photographs()) if image.mode == "RGB" and min(image.size) >= 200]
    for image in images[part::2]:
        for _ in range(count):
            width, height = image.size
            side = int(min(width, height) * rng.uniform(0.35, 0.9))
            left, top = rng.integers(0, width - side + 1), rng.integers(0, height - side + 1)
            square = image.crop((left, top, left + side, top + side)).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
            out.append((torch.from_numpy(np.asarray(square, np.float32).copy()).permute(2, 0, 1) - 127) / 128)
    return torch.stack(out)
