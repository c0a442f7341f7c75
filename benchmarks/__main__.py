"""The command line: list the benchmarks, or run one."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.catalog import BENCHMARKS, Benchmark


def main() -> int:
    """Run what the arguments name. 0, or 1 when a counted figure does not reach its target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure databund on this machine.")
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="which one; without it, list them")
    parser.add_argument("--quick", action="store_true", help="smaller and in less than 45 s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.name is None:
        for benchmark in BENCHMARKS.values():
            print(f"{benchmark.name:<10}{benchmark.about}")
        return 0
    benchmark = BENCHMARKS[arguments.name]
    figures = _measured(benchmark, quick=arguments.quick)
    print(json.dumps(figures) if arguments.json else _table(benchmark, figures))
    return int(any(target.counted and not target.reached(_find(figures, target.key)) for target in benchmark.targets))


def _measured(benchmark: Benchmark, *, quick: bool) -> dict[str, Any]:
    """The figures, and under what conditions they were taken: a busy machine measures itself."""
    begun, load = time.monotonic(), os.getloadavg()[0]
    figures = dataclasses.asdict(benchmark.module.run(quick=quick))
    conditions = {
        "quick": quick,
        "seconds": round(time.monotonic() - begun, 1),
        "cpus": os.cpu_count(),
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
    }
    return figures | {"conditions": conditions}


def _table(benchmark: Benchmark, figures: dict[str, Any]) -> str:
    targets = {target.key: target for target in benchmark.targets}
    lines = [f"{benchmark.name}: {benchmark.about}"]
    for key, figure in _flat(figures):
        target = targets.get(key)
        verdict = ""
        if target is not None:
            verdict = f"{target!s:>12}  {'reached' if figure is not None and target.reached(figure) else 'MISSED'}"
        lines.append(f"  {key:<28}{_text(figure):>16}{verdict}")
    return "\n".join(lines)


def _flat(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, figure in figures.items():
        if isinstance(figure, dict):
            yield from _flat(figure, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", figure


def _find(figures: dict[str, Any], key: str) -> float:
    figure = dict(_flat(figures))[key]
    return float("nan") if figure is None else float(figure)


def _text(figure: object) -> str:
    if isinstance(figure, list | tuple):
        return ", ".join(map(_text, figure)) or "none"
    return f"{figure:,}" if isinstance(figure, int | float) and not isinstance(figure, bool) else str(figure)


if __name__ == "__main__":
    sys.exit(main())
