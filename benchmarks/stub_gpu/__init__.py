"""Launches, waits and memory of the GPU path, measured without a GPU.

`build` makes a CUDA runtime that computes nothing (its sources are in `runtime/`), `child` starts
Python on it, and `measure` runs there and counts what one training step or one evaluated picture
asks of the GPU. The commands are `report`, `budgets` and `peaks`.
"""
