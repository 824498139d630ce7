"""What the benchmarks have in common: peers' environment, workers, interleaved timing, rows. Standard library only."""
