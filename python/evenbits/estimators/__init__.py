"""Linear models and two-layer networks whose weights are few-bit codes, as scikit-learn estimators.

Source: Saha, Pilanci, Goldsmith, Minimax optimal quantization of linear models, arXiv 2202.11277, for the models;
``evenbits.bounds`` has the risks.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('evenbits.estimators takes scikit-learn: pip install "evenbits[sklearn]"') from error
if tuple(map(int, _sklearn.__version__.split(".")[:2])) < (1, 6):
    raise ImportError(f"evenbits.estimators takes scikit-learn 1.6 or later; this is {_sklearn.__version__}")

from evenbits.estimators.linear import QuantizedLinearClassifier, QuantizedLinearRegression
from evenbits.estimators.relu import QuantizedTwoLayerReLU

__all__ = ["QuantizedLinearClassifier", "QuantizedLinearRegression", "QuantizedTwoLayerReLU"]
