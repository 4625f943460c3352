import hashlib
import itertools

import numpy as np
import pytest

import evenbits
from evenbits.quantizers import ClassificationAwareQuantizer
from evenbits.quantizers.thresholds import Thresholds, greedy_insertion, on_the_line, per_coordinate

W = np.array([1.0, -1.0]) / np.sqrt(2)


def gaussian(n, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    return np.stack([a, 0.5 * a + np.sqrt(0.75) * b], axis=1)


@pytest.mark.parametrize("gamma", [0, 0.5, 0.9, 1])
@pytest.mark.parametrize("blocks", [None, 1, [[1, 2], [0]]])
def test_the_loss_never_rises(isa, gamma, blocks):
    x = np.random.default_rng(1).standard_normal((300, 3))
    q = ClassificationAwareQuantizer(1.6, gamma, blocks=blocks, prototypes=40, restarts=2).fit(x, w=[1, -1, 0.5], intercept=0.2)
    assert len(q.trace_) > 1 and (np.diff(q.trace_) <= 1e-12).all()
    z = (x - q.mean_) / q.scale_
    c = (q.codewords_[q.indices(x)] - q.mean_) / q.scale_
    loss = (1 - gamma) * np.sum((z - c) ** 2, axis=1) + gamma * (q.decision_sides(x) != q._side(x))
    assert loss.mean() == pytest.approx(q.loss_, abs=1e-12)


def test_the_decoder_is_as_good_as_the_best_codeword_of_a_grid():
    x = gaussian(400, 2)
    q = ClassificationAwareQuantizer(1, 0.7, standardize=False, prototypes=30).fit(x, w=W)
    side = q._side(x)
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-3, 3, 121)]), -1).reshape(-1, 2)
    for k in range(4):
        mine = q.indices(x) == k
        points, s = x[mine], side[mine]
        if not len(points):
            continue
        wrong = np.where(grid @ W >= 0, np.mean(s < 0), np.mean(s > 0))
        best = np.min(0.3 * (np.sum((grid - points.mean(0)) ** 2, axis=1) + points.var(0).sum()) + 0.7 * wrong)
        found = 0.3 * np.sum((points - q.codewords_[k]) ** 2, axis=1).mean() + 0.7 * np.mean(s != q.sides_[k])
        assert found <= best + 1e-6


def test_decisions_on_a_correlated_gaussian_are_better_than_those_of_scalar_quantizers():
    x, test = gaussian(1000, 3), gaussian(50_000, 4)
    q = ClassificationAwareQuantizer(2, 0.5, standardize=False).fit(x, w=W)
    assert q.disagreement(test) <= 0.13
    assert per_coordinate(x, W, 4).disagreement(test) > 0.15
    assert per_coordinate(x, W, 4, kind="uniform").disagreement(test) > 0.17
    assert on_the_line(x, W, 4).disagreement(test) > 0.15


def test_the_dynamic_programme_finds_the_best_boundaries_on_the_line():
    for seed, w in itertools.product(range(4), ([1, -1], [2, 0.5])):
        x = np.random.default_rng(seed).standard_normal((9, 2))
        for levels in (1, 2, 3):
            found = on_the_line(x, w, levels)
            values = np.unique(x * found.factors)
            every = itertools.combinations(values, levels - 1)
            assert found.disagreement(x) == min(Thresholds([b, b], x, w, found.factors).disagreement(x) for b in every)


def test_greedy_insertion_takes_the_best_boundary_first():
    x = gaussian(40, 5)
    one = greedy_insertion(x[:, :1], [1.0], 2)
    assert one.disagreement(x[:, :1]) == 0
    assert greedy_insertion(x, W, 4).disagreement(x) <= greedy_insertion(x, W, 2).disagreement(x)


def test_encoded_rows_decode_to_codewords_and_decide_alike(tmp_path):
    x = gaussian(333, 6)
    q = ClassificationAwareQuantizer([1, 1.585], 0.5).fit(x, w=W)
    assert q.levels_ == (2, 3)
    encoded = q.encode(x)
    evenbits.save(tmp_path / "x", {"x": encoded})
    assert evenbits.verify(tmp_path / "x").ok
    back = evenbits.load(tmp_path / "x")["x"]
    np.testing.assert_array_equal(back.decode(), q.codewords_.astype(np.float32)[q.indices(x)])
    np.testing.assert_array_equal(q.predict(back), q.predict(x))
    assert encoded.nbytes < 333 * 2.7 / 8 + 6 * 2 * 4 + 200
    assert q.score(x, q.predict(x)) == 1


def test_labels_fit_a_classifier_where_no_decision_is_given():
    x = np.random.default_rng(7).standard_normal((600, 8))
    labels = np.where(x @ np.arange(-3, 5) + 1 > 0, "yes", "no")
    q = ClassificationAwareQuantizer(3, 0.9, blocks=2, prototypes=64).fit(x, labels)
    assert q.score(x, labels) > 0.9
    assert ClassificationAwareQuantizer(3, 0.9, blocks=2, target="labels").fit(x, labels).score(x, labels) > 0.9


def test_the_same_everywhere(isa):
    """With w given nothing goes through BLAS: the same numbers on every machine."""
    x = (np.arange(2000) * 7919 % 2003 / 1001.5 - 1).reshape(-1, 4)
    q = ClassificationAwareQuantizer(1, 0.5, blocks=[[0], [1, 2], [3]], prototypes=16, restarts=3).fit(x, w=[1, 2, -1, 0.5])
    assert hashlib.sha256(q.codewords_.tobytes() + q.indices(x).tobytes()).hexdigest()[:16] == "be9c3753e201d77d"


def test_parameters_can_be_cloned():
    q = ClassificationAwareQuantizer(3, 0.2, blocks=4)
    assert ClassificationAwareQuantizer(**q.get_params()).set_params(gamma=1).get_params()["gamma"] == 1
    with pytest.raises(ValueError, match="depth is no parameter"):
        q.set_params(depth=3)


@pytest.mark.parametrize(
    ("options", "fit", "message"),
    [
        ({}, {}, "y and w are None"),
        ({}, {"w": [1.0]}, r"w has shape \(1,\)"),
        ({}, {"w": [0.0, 0.0]}, "w is 0"),
        ({}, {"y": [0] * 20}, "y has 1 classes"),
        ({}, {"y": [0] * 19}, r"y has shape \(19,\)"),
        ({"bits": 0.5}, {"w": W}, "2 levels an encoder"),
        ({"bits": 9}, {"w": W}, "65536 tuples"),
        ({"bits": [1]}, {"w": W}, "bits has 1 numbers"),
        ({"gamma": 2}, {"w": W}, "gamma is 2"),
        ({"blocks": 3}, {"w": W}, "blocks is 3"),
        ({"blocks": [[0], [0]]}, {"w": W}, "each of the 2 coordinates once"),
        ({"target": "labels"}, {"w": W}, "give y"),
    ],
)
def test_arguments_that_make_no_sense_are_named(options, fit, message):
    with pytest.raises(ValueError, match=message):
        ClassificationAwareQuantizer(**options).fit(gaussian(20, 0), **fit)


def test_rows_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="not fitted"):
        ClassificationAwareQuantizer().predict(gaussian(3, 0))
    q = ClassificationAwareQuantizer().fit(gaussian(20, 0), w=W)
    with pytest.raises(ValueError, match="X has 3 coordinates"):
        q.predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"X\[0, 1\] is nan"):
        q.encode([[0, np.nan]])
    with pytest.raises(ValueError, match="not encoded by this"):
        q.predict(evenbits.quantize(np.ones((3, 8)), 2))


def test_rows_of_any_size_that_squares_have(rng):
    x, w = rng.standard_normal((60, 3)), np.array([1, -1, 0.5])
    usual = ClassificationAwareQuantizer(1, restarts=1).fit(x, w=w).loss_
    for size in (1e-250, 1e-160, 1e-30, 1e29):
        assert ClassificationAwareQuantizer(1, restarts=1).fit(x * size, w=w).loss_ == pytest.approx(usual, rel=1e-6)
        assert ClassificationAwareQuantizer(1, restarts=1).fit(x, w=w / size).loss_ == pytest.approx(usual, rel=1e-6)
    q = ClassificationAwareQuantizer(1, restarts=1).fit(x, w=w)
    for call, message in (
        (lambda: ClassificationAwareQuantizer(1).fit(x * 1e40, w=w), "scale X"),
        (lambda: q.score(x, [1]), "y has shape"),
        (lambda: q.score(x[:0], []), "there must be some"),
        (lambda: q.disagreement(x[:0]), "X is empty"),
        (lambda: ClassificationAwareQuantizer(1).fit(x, np.where(np.arange(60) % 2, np.nan, 1.0)), "y has NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert q.predict(x[:0]).shape == (0,)


def test_the_command_says_why_it_cannot_run_without_data():
    with pytest.raises(ValueError, match="decision to keep"):
        evenbits.quantize(np.ones((3, 8)), 2, "classification_aware")
