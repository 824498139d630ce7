"""The parts of `benchmarks/pruning.py`."""
