"""Hadamard matrices of many orders, built from finite fields: the lengths that the transforms know.

A length n = m 2^k is possible if m is 1 or the order of a *base* matrix: Paley's first construction (m = q + 1, q = 3 mod 4
a prime power), his second (m = 2 (q + 1), q = 1 mod 4), or a Kronecker product of two such. The transform of length n
is base (x) Sylvester. All bases are symmetric, so H H = n I.
Source: R. E. A. C. Paley, On orthogonal matrices, J. Math. and Phys. 12 (1933).
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from evenbits._arrays import integer

LARGEST_BASE = 1024
"""Order of the largest base: a transform costs m + log2(n / m) additions an element, so larger ones gain nothing."""
CHEAP_BASE = 128
"""Order of the largest base that padding picks by itself."""


def _prime_power(q: int) -> tuple[int, int] | None:
    """(p, k) with p^k = q, or None."""
    if q < 2:
        return None
    p = next((d for d in range(2, int(q**0.5) + 1) if q % d == 0), q)
    k, rest = 0, q
    while rest % p == 0:
        rest //= p
        k += 1
    return (p, k) if rest == 1 else None


def _digits(value: int, p: int, k: int) -> list[int]:
    return [value // p**i % p for i in range(k)]


@cache
def _field(q: int) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
    """Sums and the quadratic character of the field of q = p^k elements, an element being its digits in base p.

    The character is 1 on non-zero squares, -1 on the others, 0 on 0. The field is that of the first irreducible monic
    polynomial in lexicographic order.
    """
    power = _prime_power(q)
    assert power is not None
    p, k = power
    elements = [_digits(v, p, k) for v in range(q)]
    weights = np.array([p**i for i in range(k)])
    table = np.array(elements)
    sums = ((table[:, None] + table[None]) % p) @ weights

    def square(a: list[int], modulus: list[int]) -> int:
        product = [0] * (2 * k - 1)
        for i, s in enumerate(a):
            for j, t in enumerate(a):
                product[i + j] += s * t
        for i in range(2 * k - 2, k - 1, -1):  # x^k = -modulus
            for j in range(k):
                product[i - k + j] -= product[i] * modulus[j]
        return sum(c % p * p**i for i, c in enumerate(product[:k]))

    modulus = next(low for v in range(q) if _is_irreducible(low := _digits(v, p, k), p))
    character = np.full(q, -1, np.int8)
    character[[square(a, modulus) for a in elements]] = 1
    character[0] = 0
    return sums, character


def _is_irreducible(low: list[int], p: int) -> bool:
    """Whether x^k + sum low[i] x^i has no monic factor of degree 1 to k / 2 modulo p."""
    k = len(low)
    for degree in range(1, k // 2 + 1):
        for value in range(p**degree):
            divisor = [*_digits(value, p, degree), 1]
            rest = [*low, 1]
            for i in range(k, degree - 1, -1):
                lead = rest[i]
                for j in range(degree + 1):
                    rest[i - degree + j] = (rest[i - degree + j] - lead * divisor[j]) % p
            if not any(rest[:degree]):
                return False
    return True


def _construction(m: int) -> tuple[str, int] | None:
    """How a base of order m is made: ("paley1" | "paley2", q) or ("kronecker", order of the first factor)."""
    if m < 4 or m % 4 or m & (m - 1) == 0:
        return None
    q = m - 1  # 3 mod 4
    if _prime_power(q):
        return "paley1", q
    q = m // 2 - 1
    if q % 4 == 1 and _prime_power(q):
        return "paley2", q
    for a in range(12, int(m**0.5) + 1, 4):
        if m % a == 0 and _construction(a) and _construction(m // a):
            return "kronecker", a
    return None


@lru_cache(maxsize=64)
def base_matrix(m: int) -> NDArray[np.int8]:
    """A symmetric m x m matrix of +1 and -1 with orthogonal rows, m = 1 or a multiple of 4 that no power of two is."""
    made = (("", 0) if m == 1 else None) or _construction(m)
    if made is None:
        raise ValueError(f"m is {m}; no Hadamard matrix of that order is constructed here")
    kind, q = made
    if m == 1:
        base = np.ones((1, 1), np.int8)
    elif kind == "kronecker":
        base = np.kron(base_matrix(q), base_matrix(m // q))
    else:
        sums, character = _field(q)
        core = character[sums]  # entry (a, b): the character of a + b; only where a + b = 0 it is 0
        bordered = np.ones((q + 1, q + 1), np.int8)
        if kind == "paley1":
            bordered[1:, 1:] = np.where(core == 0, -1, core)
            base = bordered
        else:
            # The symmetric conference matrix has character(a - b), 0 on the diagonal.
            negative = np.argmin(sums, axis=1)  # a + negative[a] = 0
            bordered[1:, 1:] = core[:, negative]
            np.fill_diagonal(bordered, 0)
            pair, diagonal = np.array([[1, 1], [1, -1]], np.int8), np.array([[1, -1], [-1, -1]], np.int8)
            base = np.kron(bordered, pair) + np.kron(np.eye(q + 1, dtype=np.int8), diagonal)
    base = np.ascontiguousarray(base)
    base.flags.writeable = False
    return base


@lru_cache(maxsize=4096)
def base_order(n: int, largest: int = LARGEST_BASE) -> int | None:
    """The order m of the smallest base that gives a transform of length n = m 2^k, or None if there is none."""
    if n < 1:
        return None
    if n & (n - 1) == 0:
        return 1
    odd = n // (n & -n)
    m = 4 * odd
    while m <= largest and n % m == 0:
        if _construction(m):
            return m
        m *= 2
    return None


def hadamard_length(n: int, largest: int = CHEAP_BASE) -> int:
    """The least length >= n with a base of order ``largest`` at most; from n = 64 on less than a tenth above n."""
    n = integer(n, "n", 1, 2**40)
    while base_order(n, largest) is None:
        n += 1 if n < 64 else n & -n  # a length has few bits: go up by the lowest one
    return n


def hadamard_matrix(n: int) -> NDArray[np.int8]:
    """The matrix of ``hadamard_transform`` of length n, as n x n entries +1 and -1. H is symmetric and H H = n I."""
    n = integer(n, "n", 1, 2**16)
    m = base_order(n)
    if m is None:
        raise ValueError(unknown_length(n).removesuffix(": pad with zeros (pad=True)"))
    h = np.ones((1, 1), np.int8)
    while len(h) < n // m:
        h = np.block([[h, h], [h, -h]])
    return np.kron(base_matrix(m), h)


def unknown_length(n: int) -> str:
    """What to say of a length without a transform."""
    if n < 1:
        return f"the last axis has length {n}; it must have at least one element"
    above = next(i for i in range(n + 1, 2 * n + 1) if base_order(i))
    below = next(i for i in range(n - 1, 0, -1) if base_order(i))
    return (
        f"no Hadamard matrix of order {n} is known here; the nearest lengths are {below} and {above}: pad with zeros (pad=True)"
    )
