"""Networks of two layers, with a ReLU between them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin, clone
from sklearn.neural_network import MLPRegressor
from sklearn.utils.validation import check_is_fitted, validate_data

from evenbits._arrays import Array, norms
from evenbits.encoded import Encoded
from evenbits.estimators.base import Floats, QuantizedEstimator, rounding
from evenbits.packing import pack


class QuantizedTwoLayerReLU(RegressorMixin, QuantizedEstimator):
    """f(x) = sum_j a_j max(0, w_j x + b_j) + c with weights of a few bits each. The bias b_j is quantized with its row w_j.

    bits, method, options, seed: of ``evenbits.quantize``; the seed also starts the network.
    width: neurons of the hidden layer.
    network: an ``MLPRegressor`` with one hidden layer of ReLU to fit and then to quantize, instead of one of that width
    (penalty .1, L-BFGS). It is cloned, not changed; ``FrozenEstimator(network)`` stands for one that is fitted already. Scale
    features and target beforehand, as for any network.
    signs: the rows are |a_j| (w_j, b_j), and of a_j only the sign is kept, a bit a neuron (default): |a_j| max(0, z) =
    max(0, |a_j| z). Otherwise the rows and a are quantized alike.

    After ``fit``: nbytes_ (bytes of codes, scales, spec, signs and c), encoded_, hidden_ (m, d + 1) and output_ (m,) (decoded),
    intercept_ (c), n_iter_.
    Source: arXiv 2202.11277 for the model; the form with signs is derived here.
    """

    def __init__(
        self,
        bits: float | Fraction = 4,
        method: str = "near_democratic",
        *,
        width: int = 64,
        network: Any = None,
        signs: bool = True,
        options: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.bits = bits
        self.method = method
        self.width = width
        self.network = network
        self.signs = signs
        self.options = options
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> QuantizedTwoLayerReLU:
        """Fit the network to X (n, d) and y (n,), then quantize it. Raises ValueError for other networks."""
        x, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        network = MLPRegressor(hidden_layer_sizes=(self.width,), alpha=0.1, solver="lbfgs", max_iter=1000, random_state=self.seed)
        network = (network if self.network is None else clone(self.network)).fit(x, target)
        if network.activation != "relu" or len(network.coefs_) != 2:
            raise ValueError(f"network is {network}; it must have one hidden layer, and activation 'relu'")
        (inner, outer), (bias, intercept) = network.coefs_, network.intercepts_
        self.n_iter_ = network.n_iter_
        self.intercept_ = float(intercept[0])
        rows, output = np.column_stack([inner.T, bias]), outer[:, 0]
        if self.signs:
            rows, output = rows * np.abs(output)[:, None], np.where(output < 0, -1.0, 1.0)
        self.encoded_, self.hidden_ = self._quantize(rows)
        self.encoded_output_: Encoded | Array
        if self.signs:
            self.encoded_output_, self.output_ = pack((output < 0).astype(np.uint8), 1), output
        else:
            self.encoded_output_, self.output_ = self._quantize(output)
        self.nbytes_ = self.encoded_.nbytes + self.encoded_output_.nbytes + 8
        before, after = np.abs(output), np.abs(self.output_)
        self._slope = float(before @ norms(rows - self.hidden_))
        self._output_error = float(norms(output - self.output_))
        self._size = float(before @ norms(rows) + after @ norms(self.hidden_))
        return self

    def _hidden(self, X: ArrayLike) -> tuple[Floats, Floats]:
        """x with a 1 for the bias, and max(0, W' x)."""
        check_is_fitted(self)
        x: Floats = validate_data(self, X, reset=False, dtype=np.float64)
        whole = np.column_stack([x, np.ones(len(x))])
        return whole, np.maximum(whole @ self.hidden_.T, 0)

    def predict(self, X: ArrayLike) -> Floats:
        """f(x) of each row, (n,)."""
        y: Floats = self._hidden(X)[1] @ self.output_ + self.intercept_
        return y

    def output_error_bound(self, X: ArrayLike) -> Floats:
        """How far a prediction is from that of the unquantized network at most, (n,), rounding included; always holds.

        |(x, 1)| sum_j |a_j| |w_j - w_j'| + |a - a'| |max(0, W' (x, 1))| (``evenbits.bounds.relu_output_error``).
        """
        x, hidden = self._hidden(X)
        length = norms(x)
        slack = rounding(x.shape[1] + len(self.output_) + 8) * (length * self._size + 2 * abs(self.intercept_))
        bound: Floats = length * self._slope + self._output_error * norms(hidden) + slack
        return bound
