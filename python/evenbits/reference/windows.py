"""Windows by the bit masks of the published kernel."""

from __future__ import annotations


def window(a: int, bits: int, places: list[int], rounds: bool) -> int:
    """What is left of byte a: ``places`` of the window's lowest bit descend."""
    low = places[-1]
    for place, below in zip(places, [*places[1:], None], strict=True):
        if below is None or a >> (below + bits):
            low = place
            break
    mask = ((1 << bits) - 1) << low
    left = a & mask
    if rounds and low > 0:
        last, next_bit = 1 << low, 1 << (low - 1)
        if (a & last and a & next_bit) or (a & next_bit and a & (next_bit - 1)):
            left += last
        if left > mask:
            left = mask
    return left
