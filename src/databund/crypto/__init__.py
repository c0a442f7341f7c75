"""Sealed objects, keys and signatures. Raw primitives are imported in `databund.crypto._hazmat` and nowhere else."""
