"""Linear regression and classification: each row of weights is coded by itself."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from evenbits._arrays import Array, norms
from evenbits.estimators.base import Floats, QuantizedEstimator, rounding


class QuantizedLinear(QuantizedEstimator):
    """y = W x + b with the rows of W quantized; b stays as it is, a float64 a row."""

    def __init__(
        self,
        bits: float | Fraction = 4,
        method: str = "near_democratic",
        *,
        estimator: Any = None,
        options: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.bits = bits
        self.method = method
        self.estimator = estimator
        self.options = options
        self.seed = seed

    def _store(self, coef: Array, intercept: Array) -> None:
        """Quantize the weights, d or (m, d), and keep what the bound of the error takes."""
        weights = np.atleast_2d(np.asarray(coef, np.float64))
        self.encoded_, self.coef_ = self._quantize(weights)
        self.intercept_ = np.broadcast_to(np.asarray(intercept, np.float64), len(weights)).copy()
        self.nbytes_ = self.encoded_.nbytes + self.intercept_.nbytes
        self.weight_errors_ = norms(weights - self.coef_)
        self._sizes = norms(weights) + norms(self.coef_)

    def _outputs(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        x: Floats = validate_data(self, X, reset=False, dtype=np.float64)
        y: Floats = x @ self.coef_.T + self.intercept_
        return y

    def _output_errors(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        x: Floats = validate_data(self, X, reset=False, dtype=np.float64)
        length = norms(x)[:, None]
        slack = rounding(x.shape[1] + 4) * (length * self._sizes + 2 * np.abs(self.intercept_))
        bound: Floats = length * self.weight_errors_ + slack
        return bound


class QuantizedLinearRegression(RegressorMixin, QuantizedLinear):
    """Linear regression with weights of a few bits each.

    bits, method, options, seed: of ``evenbits.quantize``; options is a dictionary, such as {"fit": "unbiased"}.
    estimator: the linear model to fit and then to quantize, anything with ``coef_`` and ``intercept_``, such as
    ``Ridge(10)``; least squares by default. It is cloned, not changed; scikit-learn's ``FrozenEstimator(model)`` stands for one
    that is fitted already.

    Several targets are several rows of weights. Scale the features alike beforehand: an error of a weight costs as much as its
    feature is large.

    After ``fit``: coef_ and intercept_ (decoded, as ``predict`` takes them), encoded_ (an ``Encoded``), nbytes_ (bytes of codes,
    scales, spec and intercepts), weight_errors_ (|w - w'| a row).
    Source: arXiv 2202.11277, the model y = X theta + v.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> QuantizedLinearRegression:
        """Fit the linear model to X (n, d) and y (n,) or (n, m), then quantize it."""
        x, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True, multi_output=True)
        model = (LinearRegression() if self.estimator is None else clone(self.estimator)).fit(x, target)
        self._flat = target.ndim == 1
        self._store(model.coef_, model.intercept_)
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """W' x + b of each row, (n,) or (n, m)."""
        y = self._outputs(X)
        return y[:, 0] if self._flat else y

    def output_error_bound(self, X: ArrayLike) -> Floats:
        """|x| |w - w'|: how far a prediction is from that of the unquantized model at most, rounding included.

        In the shape of ``predict``; always holds (``evenbits.bounds.linear_output_error``).
        """
        bound = self._output_errors(X)
        return bound[:, 0] if self._flat else bound

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class QuantizedLinearClassifier(ClassifierMixin, QuantizedLinear):
    """A linear classifier with weights of a few bits each: one row of them for two classes, else one a class.

    Parameters and attributes are those of ``QuantizedLinearRegression``; ``estimator`` is anything with ``coef_``,
    ``intercept_`` and ``classes_``, logistic regression by default.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> QuantizedLinearClassifier:
        """Fit the linear classifier to X (n, d) and labels y (n,), then quantize it."""
        x, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        model = LogisticRegression(max_iter=1000) if self.estimator is None else clone(self.estimator)
        self.classes_ = model.fit(x, labels).classes_
        self._store(model.coef_, model.intercept_)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """W' x + b of each row: (n,), above 0 for the second of two classes, or (n, classes), the greatest for the label."""
        y = self._outputs(X)
        return y[:, 0] if len(self.classes_) == 2 else y

    def predict(self, X: ArrayLike) -> Array:
        """A label a row."""
        y = self.decision_function(X)
        label: Array = self.classes_[(y > 0).astype(int) if y.ndim == 1 else y.argmax(axis=1)]
        return label

    def output_error_bound(self, X: ArrayLike) -> Floats:
        """|x| |w - w'|: how far ``decision_function`` is from the unquantized model's at most, rounding included.

        In its shape; always holds. Of two classes, where |decision_function| is greater, both models give the same label.
        """
        bound = self._output_errors(X)
        return bound[:, 0] if len(self.classes_) == 2 else bound
