"""The parts of `benchmarks/inference.py`; those named `run_*` and `make_*` are run as programs of their own."""
