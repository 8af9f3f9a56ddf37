"""The measurements of `benchmarks/compare.py`, and the naive formulations beside them.

They are imported with the package of either revision, so they use only what DESIGN promises.
"""
