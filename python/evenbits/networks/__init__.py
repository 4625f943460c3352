"""Whole trained networks at few bits, by calibration data: layers of NumPy, modules of PyTorch."""

from evenbits.networks.graph import Graph
from evenbits.networks.layers import Conv, Dense, Flatten, Layer, Patches, Pool, ReLU, Residual
from evenbits.networks.loss_aware import LossAwareNetwork, activation_clips, quantize_loss_aware
from evenbits.networks.quantize import LayerReport, QuantizedNetwork, open_network, quantize_network

__all__ = [
    "Conv",
    "Dense",
    "Flatten",
    "Graph",
    "Layer",
    "LayerReport",
    "LossAwareNetwork",
    "Patches",
    "Pool",
    "QuantizedNetwork",
    "ReLU",
    "Residual",
    "activation_clips",
    "open_network",
    "quantize_loss_aware",
    "quantize_network",
]
