"""The transparency log's arithmetic: trees, tiles, signed notes, checkpoints, cosignatures and proofs.

The package is pure: values in, values or errors out. Files, databases, clocks and keys stay with the callers: tiles
arrive through a `TileReader`, signatures through callables, times as arguments. Formats are those of RFC 9162 and of
the C2SP specifications; each module names its sections.
"""
