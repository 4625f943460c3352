"""The theory as functions: levels of embeddings, errors that codes can't exceed, risks that none can fall below.

Notation: a vector x of d values has coefficients a in a Parseval frame S of n columns, S S^T = I, S a = x; its redundancy is
n / d, its level K = |a|_inf sqrt(n) / |x|_2. ``bits`` are bits a value of x, so that a coefficient has 2^(bits / redundancy)
levels. A code that mixes two level counts m and m + 1 keeps the promises made for redundancy * log2(m) bits.

Sources: [LV] Lyubarskii and Vershynin, IEEE Trans. Inf. Theory 56 (2010); [S] Saha, Pilanci, Goldsmith, arXiv 2103.07578;
[M] the same, arXiv 2202.11277, whose setting the risks are for, while its constants are not quoted here; [CT] Cover and
Thomas, Elements of Information Theory, chapter 10. "Derived here" marks what is proved in the docstring instead.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits._arrays import Array, integer, norms, real
from evenbits.rate_distortion import MOST, SMALL, bits_of, positive, reverse_water_filling
from evenbits.rate_distortion import exponential_zero_mass as exponential_zero_mass
from evenbits.rate_distortion import laplacian_absolute_rate as laplacian_absolute_rate
from evenbits.rate_distortion import laplacian_zero_mass as laplacian_zero_mass
from evenbits.rate_distortion import refinement_overhead as refinement_overhead


def _redundancy(redundancy: float) -> float:
    return real(redundancy, "redundancy", 1, math.inf)


def _level(level: float) -> float:
    return real(level, "level", 0, MOST)


# Levels


def kashin_level(eta: float, delta: float) -> float:
    """1 / ((1 - eta) sqrt(delta)): the level that Lyubarskii and Vershynin's iteration does not exceed.

    It holds where every z with at most delta * n entries that are not 0 has |S z| <= eta |z| (0 < eta < 1). [LV]:
    at most delta * n coefficients of the residual exceed its clip M_k = eta^k |x| / sqrt(delta n), and the M_k add up.
    """
    if not 0 < real(eta, "eta", 0, 1) < 1:
        raise ValueError(f"eta is {eta}; it must lie between 0 and 1")
    return 1 / ((1 - eta) * math.sqrt(real(delta, "delta", SMALL, 1)))


def kashin_residual(eta: float, iterations: int) -> float:
    """eta^k: what |r| / |x| does not exceed after k iterations, on the condition of ``kashin_level``. [LV]"""
    return float(real(eta, "eta", 0, 1) ** integer(iterations, "iterations", 0, 2**31))


def least_level(eta: float, delta: float, *, lower: float = 1.0, upper: float = 1.0) -> tuple[float, float]:
    """Between which two levels the coefficients of least maximum lie, for a frame with lower <= S S^T <= upper.

    1 / sqrt(upper) and eta / ((lower - eta^2) sqrt(delta)), with eta and delta as in ``kashin_level``, delta * n an integer
    and eta^2 < lower. Derived here: the least |a|_inf is the greatest <x, y> with |b|_1 <= 1, b = S^T y. The delta * n
    largest entries of b have the norm |b_T|, |b_T|^2 = <S b_T, y> <= eta |b_T| |y|; the others are at most
    eta |y| / sqrt(delta n), and their squares add up to (lower - eta^2) |y|^2 or more, hence |b|_1 >= (lower - eta^2)
    sqrt(delta n) |y| / eta. That is below eta / ((lower - eta sqrt(upper)) sqrt(delta)), the form in use, as eta <= sqrt(upper).
    """
    eta, delta = positive(eta, "eta"), real(delta, "delta", SMALL, 1)
    lower, upper = positive(lower, "lower"), positive(upper, "upper")
    if lower > upper:
        raise ValueError(f"lower is {lower}, above upper, which is {upper}")
    if eta * eta >= lower:
        raise ValueError(f"eta is {eta}; its square must be below lower, which is {lower}")
    return 1 / math.sqrt(upper), eta / ((lower - eta * eta) * math.sqrt(delta))


def near_democratic_level(n: int) -> float:
    """2 sqrt(ln 2n): the level that S^T x exceeds with probability 1 / (2n) at most, for random signs. See the tail."""
    return 2 * math.sqrt(math.log(2 * integer(n, "n", 1, 2**62)))


def near_democratic_tail(level: float, n: int) -> float:
    """min(1, 2n exp(-level^2 / 2)): how probable it is at most that S^T x exceeds a level. [S], derived here.

    A coefficient of a randomized Hadamard frame is a sum of +-x_i / sqrt(n): Hoeffding, and the union of 2n events.
    """
    return min(1.0, 2 * integer(n, "n", 1, 2**62) * math.exp(-(_level(level) ** 2) / 2))


def direct_level(d: int) -> float:
    """sqrt(d): the greatest level of x itself, without an embedding; one value that is not 0 attains it."""
    return math.sqrt(integer(d, "d", 1, 2**62))


def democratic_level(redundancy: float) -> float:
    """The level of the coefficients of least maximum in a random orthonormal frame, as d grows: a number near it for d > 200.

    K^2 = (1 - 1/r) / max_t [m1(t)^2 - m2(t) / r], m1 = E |h| min(1, |h|/t), m2 = E min(1, h^2/t^2), h Gaussian and r the
    redundancy. Derived here by Gordon's comparison of Gaussian processes, for vectors in general position, and checked by
    simulation; the maximum lies where t m1(t) = 1/r, of which the left side grows with t. 1.253 = sqrt(pi / 2) for r -> inf;
    at r = 1 there is no finite limit (ValueError).
    """
    r = _redundancy(redundancy)
    if r == 1:
        raise ValueError("redundancy is 1; without redundancy the level grows with the dimension")
    if r > 1e15:  # the limit, to the last digits
        return math.sqrt(math.pi / 2)
    low, high = 0.0, 40.0
    for _ in range(200):
        t = (low + high) / 2
        density, outside, inside = _gaussian_moments(t)
        low, high = (t, high) if inside + 2 * t * density < 1 / r else (low, t)
    m1, m2 = 1 / (r * t), inside / (t * t) + outside
    return math.sqrt((1 - 1 / r) / (m1 * m1 - m2 / r))


def _gaussian_moments(t: float) -> tuple[float, float, float]:
    """Density at t, P(|h| > t) and E[h^2; |h| < t] of a Gaussian."""
    density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    # the difference of three nearly equal numbers for small t: its series there
    series = 2 * t**3 / math.sqrt(2 * math.pi) * (1 / 3 - t * t / 10 + t**4 / 56)
    outside = math.erfc(t / math.sqrt(2))
    return density, outside, series if t < 0.02 else 1 - outside - 2 * t * density


def saturated_share(redundancy: float) -> float:
    """1 - 1/redundancy: the share of coefficients at +-|a|_inf where that is least.

    Derived here: n - d + 1 of them are, at a vertex of the linear program, for vectors in general position.
    """
    return 1 - 1 / _redundancy(redundancy)


# Errors of codes, from the level of what they code


def nearest_error(bits: float, level: float, redundancy: float = 1.0) -> float:
    """K 2^(-bits / redundancy): what |x - x'| / |x| does not exceed with the nearest of mid-rise levels up to |a|_inf.

    Each of n coefficients is off by |a|_inf / 2^(bits / redundancy) at most, and |S e| <= |e|. Derived here; [S] has twice
    that. It is also the contraction of error feedback a step, see ``descent_rate``.
    """
    return _level(level) * 2 ** (-bits_of(bits) / _redundancy(redundancy))


def stochastic_error(bits: float, level: float, redundancy: float = 1.0, *, equal_norms: bool = True) -> float:
    """What E |x - x'|^2 / |x|^2 does not exceed with stochastic rounding to end-point levels up to |a|_inf.

    K^2 / (2^(bits / redundancy) - 1)^2: a variance of at most a quarter step squared each, and |S| <= 1. With ``equal_norms``
    of the frame's columns (all of 1/redundancy, as in Hadamard frames) 1/redundancy of that: the errors are independent.
    Infinite at 0 bits. Derived here; for x itself, of ``direct_level``, it is d / (2^bits - 1)^2.
    """
    r = _redundancy(redundancy)
    steps = 2 ** min(bits_of(bits) / r, 1023) - 1
    if steps == 0:
        return math.inf
    return (_level(level) / steps) ** 2 / (r if equal_norms else 1)


def typical_error(bits: float, level: float, redundancy: float = 1.0) -> float:
    """K^2 / (3 redundancy) 4^(-bits / redundancy): |x - x'|^2 / |x|^2 as it is for errors spread evenly over a cell.

    An estimate for nearest rounding at 3 bits or more, no bound: the variance of a cell, of which the frame keeps 1/redundancy.
    Redundancy divides the exponent: it costs bits.
    """
    return nearest_error(bits, level, redundancy) ** 2 / (3 * _redundancy(redundancy))


def descent_rate(smoothness: float, convexity: float, contraction: float = 0.0) -> float:
    """max(nu, contraction), nu = (L - mu) / (L + mu): the rate a step of ``evenbits.gradients.dgd_def``, up to a constant.

    For L-smooth and mu-strongly convex functions and steps of 2 / (L + mu); contraction is the ``nearest_error`` of the code.
    Derived there; [S]: minimax-optimal up to constants.
    """
    high, low = positive(smoothness, "smoothness"), positive(convexity, "convexity")
    if low > high:
        raise ValueError(f"convexity is {low}, above smoothness, which is {high}")
    return max((high - low) / (high + low), real(contraction, "contraction", 0, math.inf))


# Risks of quantized linear models y = X theta + v


def orthogonal_risk(bits: float, *, samples: float, prior: float = 1.0, noise: float = 1.0) -> float:
    """m + r 4^(-bits): the squared error a coordinate of theta that no estimate of d * bits bits falls below.

    For theta ~ N(0, prior^2 I), v ~ N(0, noise^2 I), X^T X = samples * I and s^2 = noise^2 / samples: m = prior^2 s^2 /
    (prior^2 + s^2), the error without quantization, and r = prior^4 / (prior^2 + s^2). Derived here: the error is m plus that
    of coding E[theta | y], of variance r ([CT]). The same form, with a radius instead of ``prior``, is known as the minimax
    risk over a ball as d grows. [M] has the setting.
    """
    prior, s = positive(prior, "prior") ** 2, _noise(noise, samples)
    return (prior * s + prior * prior * 4 ** -bits_of(bits)) / (prior + s)


def threshold_bits(*, samples: float, prior: float = 1.0, noise: float = 1.0) -> float:
    """max(0, log2(samples * prior^2 / noise^2) / 2): the bits a value from which quantization costs less than the noise does.

    At this rate the two terms of ``orthogonal_risk`` are equal. Derived here.
    """
    return max(0.0, math.log2(positive(prior, "prior") ** 2 / _noise(noise, samples)) / 2)


def design_risk(bits: float, singular_values: ArrayLike, *, prior: float = 1.0, noise: float = 1.0) -> float:
    """``orthogonal_risk`` for any X, of d singular values (0 where it has fewer), and summed over the d coordinates.

    sum m_i + sum min(r_i, k), m_i = prior^2 noise^2 / (noise^2 + prior^2 s_i^2), r_i = prior^4 s_i^2 / the same, k of
    ``reverse_water_filling`` with d * bits bits. Derived here: E[theta | y] has the variances r_i along the singular vectors.
    """
    loss, energy = _design(singular_values, prior, noise)
    return float(loss.sum() + reverse_water_filling(energy, bits_of(bits) * len(energy))[1].sum())


def design_threshold(singular_values: ArrayLike, *, prior: float = 1.0, noise: float = 1.0) -> float:
    """The bits a value at which the two terms of ``design_risk`` are equal; 0 if the first is the larger at any rate."""
    loss, energy = _design(singular_values, prior, noise)
    excess = loss.sum()
    if energy.sum() <= excess:
        return 0.0
    ordered = np.sort(energy[energy > 0])[::-1]
    # the errors of j components at the water level k and of the smaller ones whole: k = (excess - rest) / j
    rest = np.append(np.cumsum(ordered[::-1])[::-1][1:], 0.0)
    water = (excess - rest) / np.arange(1, ordered.size + 1)
    k = float(water[np.flatnonzero((water > 0) & (water <= ordered))[-1]])
    return float(np.log2(ordered[ordered > k] / k).sum() / 2 / energy.size)


def quantized_risk(risk: float, energy: float, relative_error: float) -> float:
    """risk + energy * relative_error: of an estimate, E |theta' - theta|^2 = risk, after an unbiased code of it.

    energy is E |theta'|^2 and relative_error that of the code, such as ``stochastic_error``, whose randomness is independent
    of the data: the cross term vanishes. Derived here; the upper bound to the risks above.
    """
    risk, energy = real(risk, "risk", 0, MOST), real(energy, "energy", 0, MOST)
    error = real(relative_error, "relative_error", 0, math.inf)
    return risk + energy * error if energy else risk


def _noise(noise: float, samples: float) -> float:
    return positive(noise, "noise") ** 2 / positive(samples, "samples")


def _design(singular_values: ArrayLike, prior: float, noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    s = np.asarray(singular_values, np.float64)
    if s.ndim != 1 or not s.size or not ((s >= 0) & (s <= MOST)).all():
        raise ValueError(f"singular_values must be one row of numbers from 0 to {MOST:g}")
    t, v = positive(prior, "prior") ** 2, positive(noise, "noise") ** 2
    total = v + t * s * s
    return t * v / total, t * t * s * s / total


# Outputs of quantized models


def linear_output_error(x: ArrayLike, weights: ArrayLike, quantized: ArrayLike) -> NDArray[np.float64]:
    """|x| |w - w'|: what |w x - w' x| does not exceed (Cauchy and Schwarz), for rows of x (..., d) and of weights (m, d).

    Returns (..., m). Exact arithmetic is meant: a computed output has rounding errors of its own.
    """
    a, w, q = (np.asarray(v, np.float64) for v in (x, weights, quantized))
    bound: Array = norms(a)[..., None] * norms(w - q)
    return bound


def relu_output_error(
    x: ArrayLike, weights: ArrayLike, output: ArrayLike, quantized_weights: ArrayLike, quantized_output: ArrayLike
) -> NDArray[np.float64]:
    """What |f(x) - f'(x)| does not exceed for f(x) = sum_j output_j max(0, w_j x) with quantized rows w_j and output.

    |x| sum_j |output_j| |w_j - w_j'| + |output - output'| |max(0, W' x)|: max(0, .) is 1-Lipschitz. x (..., d), W (m, d),
    output (m,); returns (...). Exact arithmetic, as in ``linear_output_error``. Derived here.
    """
    a, w, q = (np.asarray(v, np.float64) for v in (x, weights, quantized_weights))
    u, v = np.asarray(output, np.float64), np.asarray(quantized_output, np.float64)
    rows = np.abs(u) @ norms(w - q)
    hidden = norms(np.maximum(a @ q.T, 0))
    bound: Array = norms(a) * rows + norms(u - v) * hidden
    return bound
