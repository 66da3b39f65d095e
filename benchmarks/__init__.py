"""What selfevo's speed is measured beside: `make bench`, or `python -m benchmarks TOPIC ...`."""
