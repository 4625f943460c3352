"""The library in plain NumPy: the definition that every kernel is tested against, bit for bit.

Nothing outside the tests and the benchmarks imports it.
"""
