"""Our own overhead against the bare floor: what run_benchmarks.py measures."""
