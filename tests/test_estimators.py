import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn.datasets import load_diabetes, load_digits, load_iris, make_regression
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import estimator_checks_generator

import evenbits
from evenbits import bounds
from evenbits.estimators import QuantizedLinearClassifier, QuantizedLinearRegression, QuantizedTwoLayerReLU

SMALL_NETWORK = MLPRegressor(hidden_layer_sizes=(16,), alpha=0.1, solver="lbfgs", max_iter=100, random_state=0)
ESTIMATORS = [
    QuantizedLinearRegression(),
    QuantizedLinearRegression(8, "uniform", estimator=Ridge()),
    QuantizedLinearClassifier(),
    QuantizedTwoLayerReLU(width=8),
    QuantizedTwoLayerReLU(8, network=SMALL_NETWORK, signs=False),
]
BITS = pytest.mark.parametrize("bits", [0.5, 1, 2.5, 4, 8])
METHODS = pytest.mark.parametrize("method", ["uniform", "lloyd_max", "near_democratic", "democratic"])


CHECKS = [
    pytest.param(instance, check, id=f"{type(instance).__name__}-{check.func.__name__}")
    for estimator in ESTIMATORS
    for instance, check in estimator_checks_generator(estimator)
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_scikit_learn_accepts_the_estimator(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of networks that have not converged, and of deprecations inside the checks
        check(estimator)


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return scale(x), scale(y)


@pytest.fixture(scope="module")
def network(diabetes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MLPRegressor(hidden_layer_sizes=(8,), alpha=0.1, solver="lbfgs", max_iter=60, random_state=3).fit(*diabetes)


@pytest.fixture(autouse=True)
def few_iterations():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lbfgs failed to converge")
        yield


@BITS
@METHODS
def test_predictions_of_regression_keep_their_bound(bits, method, diabetes):
    x, y = diabetes
    model = QuantizedLinearRegression(bits, method).fit(x, y)
    off = np.abs(model.predict(x) - LinearRegression().fit(x, y).predict(x))
    bound = model.output_error_bound(x)
    assert off.shape == bound.shape == (len(x),)
    assert (off <= bound).all()
    theory = bounds.linear_output_error(x, LinearRegression().fit(x, y).coef_[None], model.coef_)
    np.testing.assert_allclose(bound, theory[:, 0], rtol=1e-9, atol=1e-12)


@BITS
@METHODS
@pytest.mark.parametrize("classes", [2, 10])
def test_decisions_of_classifiers_keep_their_bound(bits, method, classes):
    x, y = load_digits(n_class=classes, return_X_y=True)
    base = RidgeClassifier().fit(x, y)
    model = QuantizedLinearClassifier(bits, method, estimator=RidgeClassifier()).fit(x, y)
    off = np.abs(model.decision_function(x) - base.decision_function(x))
    bound = model.output_error_bound(x)
    assert bound.shape == off.shape
    assert (off <= bound).all()
    if classes == 2:
        certain = np.abs(model.decision_function(x)) > bound
        np.testing.assert_array_equal(model.predict(x)[certain], base.predict(x)[certain])


@BITS
@METHODS
@pytest.mark.parametrize("signs", [True, False])
def test_predictions_of_networks_keep_their_bound(bits, method, signs, diabetes, network):
    x, y = diabetes
    model = QuantizedTwoLayerReLU(bits, method, network=network, signs=signs).fit(x, y)
    off = np.abs(model.predict(x) - network.predict(x))
    assert (off <= model.output_error_bound(x)).all()
    far = 1e6 * x
    assert (np.abs(model.predict(far) - network.predict(far)) <= model.output_error_bound(far)).all()


def test_the_bound_holds_where_only_rounding_is_left(rng):
    """One weight a row is decoded as it was but for the rounding of its scale."""
    x = rng.standard_normal((100, 1)) * 1e8
    y = 3 * x[:, 0] + 1
    model = QuantizedLinearRegression(options={"scale_dtype": "float64"}).fit(x, y)
    base = LinearRegression().fit(x, y)
    assert model.weight_errors_.max() <= 1e-7
    assert (np.abs(model.predict(x) - base.predict(x)) <= model.output_error_bound(x)).all()


def test_the_bound_of_networks_holds_where_only_rounding_is_left(diabetes, rng):
    x, y = diabetes
    network = MLPRegressor(hidden_layer_sizes=(8,), max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.fit(x, y)
    network.coefs_ = [np.sign(w) / 3 for w in network.coefs_[:1]] + [3 * np.sign(network.coefs_[1])]
    network.intercepts_ = [np.full(8, 1 / 3), np.zeros(1)]
    options = {"grid": "end_point", "scale_dtype": "float64"}
    model = QuantizedTwoLayerReLU(1, "uniform", network=FrozenEstimator(network), options=options).fit(x, y)
    np.testing.assert_array_equal(np.abs(model.hidden_), 1)
    off = np.abs(model.predict(x) - network.predict(x))
    assert off.max() > 0
    assert (off <= model.output_error_bound(x)).all()


@pytest.mark.parametrize("size", [1e-200, 1e160])
def test_the_bound_holds_for_weights_and_features_of_any_size(size, rng):
    x = rng.standard_normal((40, 5))
    for features, target in ((x, x[:, 0] * size), (x * min(size, 1e100), x[:, 0])):
        model = QuantizedLinearRegression(2, options={"scale_dtype": "float64"}).fit(features, target)
        off = np.abs(model.predict(features) - LinearRegression().fit(features, target).predict(features))
        bound = model.output_error_bound(features)
        assert off.max() > 0
        assert (off <= bound).all() and np.isfinite(bound).all()


def test_the_bound_of_networks_is_that_of_the_theory(diabetes, network):
    x, y = diabetes
    model = QuantizedTwoLayerReLU(3, network=network, signs=False).fit(x, y)
    whole = np.column_stack([x, np.ones(len(x))])
    rows = np.column_stack([network.coefs_[0].T, network.intercepts_[0]])
    expected = bounds.relu_output_error(whole, rows, network.coefs_[1][:, 0], model.hidden_, model.output_)
    np.testing.assert_allclose(model.output_error_bound(x), expected, rtol=1e-9)


@METHODS
def test_many_bits_leave_the_model_as_it_was(method, diabetes, network):
    x, y = diabetes
    bits = 8 if method in ("lloyd_max", "near_democratic") else 14
    linear = QuantizedLinearRegression(bits, method).fit(x, y).predict(x)
    np.testing.assert_allclose(linear, LinearRegression().fit(x, y).predict(x), atol=0.02)
    for signs in (True, False):
        quantized = QuantizedTwoLayerReLU(bits, method, network=network, signs=signs).fit(x, y).predict(x)
        np.testing.assert_allclose(quantized, network.predict(x), atol=0.2)


def test_signs_cost_a_bit_a_neuron(diabetes, network):
    """In whole words of 32 bits, as all packed rows."""
    model = QuantizedTwoLayerReLU(4, network=network).fit(*diabetes)
    assert model.nbytes_ == model.encoded_.nbytes + 4 + 8
    assert model.encoded_.shape == (8, 11)
    assert set(model.output_) <= {-1.0, 1.0}


def test_targets_are_rows_of_codes(rng):
    x, y = make_regression(100, 12, n_targets=3, random_state=0)
    model = QuantizedLinearRegression(4).fit(x, y)
    assert model.encoded_.shape == (3, 12)
    assert model.nbytes_ == model.encoded_.nbytes + 3 * 8
    assert model.predict(x).shape == model.output_error_bound(x).shape == (100, 3)
    one = QuantizedLinearRegression(4).fit(x, y[:, :1])
    assert one.predict(x).shape == (100, 1)


def test_the_codes_are_those_of_quantize(diabetes):
    x, y = diabetes
    model = QuantizedLinearRegression(3, "democratic", options={"redundancy": 2}, seed=7, estimator=Ridge(5)).fit(x, y)
    expected = evenbits.quantize(Ridge(5).fit(x, y).coef_[None], 3, "democratic", redundancy=2, seed=7)
    np.testing.assert_array_equal(model.encoded_.planes["codes"], expected.planes["codes"])
    np.testing.assert_array_equal(model.coef_, expected.decode())


def test_the_estimator_that_is_given_stays_unfitted(diabetes):
    base = Ridge(5)
    QuantizedLinearRegression(estimator=base).fit(*diabetes)
    assert not hasattr(base, "coef_")


def test_fitted_models_are_quantized_as_they_are(diabetes, network):
    x, y = diabetes
    base = Ridge(5).fit(x, y)
    np.testing.assert_array_equal(
        QuantizedLinearRegression(3, estimator=FrozenEstimator(base)).fit(x[:2], y[:2]).coef_,
        QuantizedLinearRegression(3, estimator=Ridge(5)).fit(x, y).coef_,
    )
    frozen = QuantizedTwoLayerReLU(8, network=FrozenEstimator(network)).fit(x[:2], y[:2])
    assert np.corrcoef(frozen.predict(x), network.predict(x))[0, 1] > 0.999


def test_labels_of_any_kind_survive():
    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = make_pipeline(StandardScaler(), QuantizedLinearClassifier(6)).fit(x, names)
    assert model.score(x, names) > 0.93
    assert set(model.predict(x)) <= set(names)


def test_four_bits_classify_digits_as_float64_does():
    x, y = load_digits(return_X_y=True)
    x = x / 16
    base = LogisticRegression(max_iter=1000).fit(x[:500], y[:500])
    model = QuantizedLinearClassifier(4).fit(x[:500], y[:500])
    assert (model.predict(x) == base.predict(x)).mean() > 0.96
    assert model.nbytes_ < base.coef_.nbytes / 8


@pytest.mark.parametrize("other", [{"hidden_layer_sizes": (4, 4)}, {"hidden_layer_sizes": (4,), "activation": "tanh"}])
def test_other_networks_are_refused(other, diabetes):
    network = MLPRegressor(solver="lbfgs", max_iter=5, **other)
    with pytest.raises(ValueError, match=r"(?s)network is MLPRegressor.* one hidden layer"):
        QuantizedTwoLayerReLU(network=network).fit(*diabetes)


def test_the_methods_arguments_are_checked(diabetes):
    with pytest.raises(ValueError, match="method is 'none'"):
        QuantizedLinearRegression(method="none").fit(*diabetes)
    with pytest.raises(ValueError, match="bits is 0"):
        QuantizedLinearRegression(0).fit(*diabetes)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    import sys

    for name in [n for n in sys.modules if n.startswith("evenbits.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"evenbits\[sklearn\]"):
        import evenbits.estimators  # noqa: F401
