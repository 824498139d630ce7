"""The parts of benchmarks/stdp.py."""
