"""What entropy_trellis and trellis have in common: progress, unbiased codes, scales of rows, damage, budgets."""

import re
import threading
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from evenbits import Encoded, EncodedError, decode, quantize
from evenbits.models import quantize_model
from evenbits.quantizers import methods

QUICK = {"entropy_trellis": {"states": 4}, "trellis": {"memory": 8}}
BOTH = sorted(QUICK)


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("workers", [1, 3])
def test_long_searches_report_what_is_done(method, workers, rng):
    x, heard = rng.standard_normal((260, 2048)).astype(np.float32), []

    def progress(done, total):
        heard.append((done, total, threading.get_ident()))

    e = quantize(x, 1, method, workers=workers, progress=progress, **QUICK[method])
    assert len(heard) >= 2 and heard[-1][0] == x.size
    assert {total for _, total, _ in heard} == {x.size} and {who for *_, who in heard} == {threading.get_ident()}
    done = [done for done, *_ in heard]
    assert done == sorted(done) and done[0] > 0
    assert workers > 1 or (len(done) > 5 and done[0] < 0.3 * x.size)
    silent = quantize(x, 1, method, **QUICK[method])
    assert {k: p.tobytes() for k, p in e.planes.items()} == {k: p.tobytes() for k, p in silent.planes.items()}


def test_a_search_ends_where_its_progress_raises(rng):
    x = rng.standard_normal((20, 2048)).astype(np.float32)

    def progress(done, total):
        raise KeyboardInterrupt

    for method in BOTH:
        with pytest.raises(KeyboardInterrupt):
            quantize(x, 1, method, workers=2, progress=progress, **QUICK[method])


def test_other_methods_report_at_the_end(rng):
    heard = []
    for method in methods().keys() - QUICK.keys():
        quantize(rng.standard_normal((4, 64)), 4, method, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(256, 256)] * (len(methods()) - 2)


def test_columns_that_are_searched_one_after_the_other_report(rng):
    w, x, heard = rng.standard_normal((40, 12)), rng.standard_normal((50, 12)), []
    quantize(w, 2, "trellis_feedback", calibration=x, memory=8, progress=lambda *now: heard.append(now))
    assert heard[:-1] == [(40 * t, 480) for t in range(1, 13)] and heard[-1] == (480, 480)


@pytest.mark.parametrize("method", BOTH)
def test_models_report_within_a_tensor(method, rng, tmp_path):
    arrays = {name: rng.standard_normal((n, 1024)).astype(np.float32) for name, n in (("a", 100), ("b", 8), ("c", 40))}
    save_file(arrays, tmp_path / "m")
    heard = []
    quantize_model(
        tmp_path / "m", tmp_path / "f", bits=1, method=method, workers=2, progress=lambda *now: heard.append(now), **QUICK[method]
    )
    done, totals, names = zip(*heard, strict=True)
    assert list(done) == sorted(done) and set(totals) == {148 * 1024} and done[-1] == totals[0]
    assert names.count("a") > 1 and {"a", "b", "c"} < set(names)


def mean_of(x, count, method, **options):
    """The mean over seeds, and the mean square of what a single one is off."""
    found = [decode(quantize(x, method=method, seed=seed, **QUICK[method], **options)) for seed in range(count)]
    return np.mean(found, axis=0), np.mean([np.square(y - x).sum(axis=1) for y in found], axis=0)


@pytest.mark.parametrize(
    ("method", "per", "law"),
    [
        ("trellis", None, "gaussian"),
        ("trellis", None, "heavy"),
        ("trellis", None, "ramp"),
        ("entropy_trellis", "tensor", "gaussian"),
        ("entropy_trellis", "row", "ramp"),
    ],
)
def test_the_mean_of_unbiased_codes_over_seeds_is_what_was_encoded(method, per, law, rng):
    shape, count = (3, 128), 10
    x = {"gaussian": rng.standard_normal(shape), "heavy": rng.standard_t(3, shape), "ramp": np.arange(384.0).reshape(shape)}[law]
    if per == "tensor":  # whose rows must be alike
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    options = {} if per is None else {"per": per, "law": "gaussian"}
    mean, square = mean_of(x, count, method, bits=3, fit="unbiased", **options)
    off = np.square(mean - x).sum(axis=1) * count / square
    assert (off < 1.6).all()  # 1 is expected, with a standard deviation of sqrt(2 / 128)
    shrunk, square = mean_of(x, count, method, bits=1, **options)
    assert (np.square(shrunk - x).sum(axis=1) * count / square > 2.5).all()


@pytest.mark.parametrize("fit", ["unbiased", "least_squares"])
@pytest.mark.parametrize("seed", [0, 7])
def test_inner_products_are_those_of_the_fit(fit, seed, rng):
    x = rng.standard_t(4, (4, 768)) * 10.0 ** np.arange(-2, 2)[:, None]

    def products(method, **options):
        y = decode(quantize(x, 2, method, fit=fit, seed=seed, **QUICK[method], **options))
        return (x * y).sum(axis=1), ((x * x) if fit == "unbiased" else (y * y)).sum(axis=1)

    np.testing.assert_allclose(*products("trellis"), rtol=1e-6)
    found, expected = products("entropy_trellis")
    assert found.sum() == pytest.approx(expected.sum(), rel=1e-5 if fit == "unbiased" else 0.02)
    if fit == "unbiased":
        np.testing.assert_allclose(*products("entropy_trellis", per="row"), rtol=2.0**-10)


def test_arrays_that_decode_to_zeros_have_no_unbiased_scale():
    for per in ("tensor", "row"):
        e = quantize(np.eye(3, 256), 0.5, "entropy_trellis", fit="unbiased", per=per, states=8, law="empirical")
        assert np.isfinite(e.decode()).all()


@pytest.mark.parametrize("method", BOTH)
def test_rows_of_any_sizes_have_the_same_relative_error_by_scales_of_their_own(method, rng):
    x = rng.standard_normal((8, 1500))
    sizes = np.ldexp(1.0, [-14, -9, -3, 0, 0, 1, -6, -12])[:, None]
    own = {"per": "row"} if method == "entropy_trellis" else {}
    alone, together = (decode(quantize(y, 2, method, **QUICK[method], **own)) / s for y, s in ((x, 1), (x * sizes, sizes)))
    errors = np.square(together - x).sum(axis=1) / np.square(x).sum(axis=1)
    assert errors.max() < 1.25 * errors.min() < 0.13
    np.testing.assert_allclose(np.square(alone - x).sum(), np.square(together - x).sum(), rtol=0.02)


def encoded_by(method, rng):
    x = rng.standard_t(3, (5, 200)).astype(np.float32)
    if method == "trellis":
        return [quantize(x, bits, method, memory=8, certificate=True) for bits in (1, 2.5)]
    x[2, 5] = 1e6
    options = {"per": "row", "rows_per_block": 2}, {"rotate": False, "rows_per_block": 3}, {"rotate": False, "law": "empirical"}
    return [quantize(x, 2, method, certificate=True, **o) for o in options]


def assert_decodes_or_is_refused(e, words):
    """Whether it decodes."""
    try:
        with np.errstate(all="ignore"):
            decode(e)
    except EncodedError as error:
        assert re.search(words, str(error))
        return False
    return True


@pytest.mark.parametrize("method", BOTH)
def test_flipped_bytes_of_any_plane_are_refused_in_words_or_decode(method, rng):
    refused, decoded = set(), set()
    for e in encoded_by(method, rng):
        for name, plane in e.planes.items():
            for i in range(12):
                other = plane.copy()
                other.view(np.uint8).reshape(-1)[rng.integers(0, plane.nbytes, 1 + i % 3)] ^= rng.integers(1, 256, dtype=np.uint8)
                whole = assert_decodes_or_is_refused(Encoded({**e.planes, name: other}, e.spec), "plane '")
                (decoded if whole else refused).add(name)
    planes = {name for e in encoded_by(method, rng) for name in e.planes}
    assert decoded | refused == planes
    assert refused >= ({"errors"} if method == "trellis" else {"errors", "stream", "sizes"})


@pytest.mark.parametrize("method", BOTH)
def test_planes_cut_short_or_missing_are_refused_by_name(method, rng):
    for e in encoded_by(method, rng):
        for name, plane in e.planes.items():
            for short in (plane[:-1], plane[1:], plane[:0], np.concatenate([plane, plane[:1]])):
                with pytest.raises(EncodedError, match=f"plane '{name}' is "):
                    decode(Encoded({**e.planes, name: short}, e.spec))
            if name != "errors":
                with pytest.raises(EncodedError, match=f"plane '{name}' is missing"):
                    decode(Encoded({k: p for k, p in e.planes.items() if k != name}, e.spec))


def test_streams_cut_short_with_sizes_that_agree_are_refused_or_decode(rng):
    for e in encoded_by("entropy_trellis", rng):
        stream = e.planes["stream"]
        if "sizes" not in e.planes:  # of one block
            for n in rng.integers(1, stream.size, 16):
                cut = Encoded({**e.planes, "stream": stream[:n]}, {**e.spec, "bytes": int(n)})
                assert_decodes_or_is_refused(cut, "plane 'stream' makes no sense in block")
            continue
        sizes = e.planes["sizes"]
        for n in rng.integers(1, stream.size, 16):
            lie = sizes.astype(np.int64)
            lie[-1] += int(n) - stream.size
            for i in range(len(lie) - 1, 0, -1):  # what the last one lacks, those before it give
                lie[i - 1] += min(lie[i], 0)
                lie[i] = max(lie[i], 0)
            cut = {**e.planes, "stream": stream[:n], "sizes": lie.astype(np.uint32)}
            assert_decodes_or_is_refused(Encoded(cut, {**e.spec, "bytes": int(n)}), "plane 'stream' makes no sense in block")
        for _ in range(8):
            lie = rng.multinomial(stream.size, np.full(len(sizes), 1 / len(sizes))).astype(np.uint32)
            assert_decodes_or_is_refused(Encoded({**e.planes, "sizes": lie}, e.spec), "plane 'stream' makes no sense in block")


@pytest.mark.parametrize("method", BOTH)
def test_specs_with_anything_in_them_are_refused_by_key_or_decode(method, rng):
    for e in encoded_by(method, rng):
        for key in e.spec:
            for value in (None, True, -1, 0, 1, 3, 2.5, 2**33, 10**30, "", "row", "5/3", [], [200, 5], [2**33] * 2, {}, {"a": 1}):
                assert_decodes_or_is_refused(Encoded(e.planes, {**e.spec, key: value}), "spec|plane '")


LAWS = {
    "gaussian": lambda r, n: r.standard_normal(n),
    "heavy": lambda r, n: r.standard_t(1.2, n),
    "sparse": lambda r, n: np.where(r.random(n) < 0.05, r.standard_normal(n), 0),
    "signs": lambda r, n: r.choice([-1.0, 1.0], n),
    "constant": lambda r, n: np.full(n, 0.3),
    "zeros": lambda r, n: np.zeros(n),
    "spike": lambda r, n: np.where(np.arange(n) == n // 2, 1e9, r.standard_normal(n)),
    "integers": lambda r, n: r.integers(-3, 4, n).astype(float),
}


@settings(max_examples=16, deadline=None)
@given(
    shape=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    law=st.sampled_from(sorted(LAWS)),
    budget=st.fractions(Fraction(1, 20), 8, max_denominator=1000),
    method=st.sampled_from(BOTH),
    rotate=st.booleans(),
    fit=st.sampled_from(["least_squares", "unbiased"]),
    per=st.sampled_from(["row", "tensor"]),
    certificate=st.booleans(),
    dtype=st.sampled_from(["float32", "float64", "float16"]),
)
def test_no_budget_is_exceeded(shape, law, budget, method, rotate, fit, per, certificate, dtype):
    shape[-1] *= 8
    size = int(np.prod(shape))
    x = LAWS[law](np.random.default_rng(size), size).reshape(shape).clip(-6e4, 6e4).astype(dtype)
    options = QUICK[method] | ({"per": per} if method == "entropy_trellis" else {})
    try:
        e = quantize(x, method=method, budget=budget, rotate=rotate, fit=fit, certificate=certificate, **options)
    except ValueError as error:
        assert "do not fit into it" in str(error)
        least = float(str(error).split()[-1])
        assert least > 0.99 * budget
        return
    assert 8 * e.nbytes <= budget * size
    y = e.decode()
    assert np.isfinite(y).all() and (not certificate or (e.certified_error() >= 0).all())
    assert fit == "unbiased" or np.linalg.norm(x.astype(float) - y) <= 1.01 * np.linalg.norm(x.astype(float))
