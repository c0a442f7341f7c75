"""Benchmarks: what databund promises to reach, measured on this machine beside something to compare it with.

``python -m benchmarks`` lists them; ``python -m benchmarks NAME [--quick] [--json]`` runs one. The figures and how they
are taken are described in docs/reference/benchmarks.md.
"""
