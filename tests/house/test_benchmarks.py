"""The benchmarks declare what they print, and the documentation says what it means. None is timed here."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.catalog import BENCHMARKS, Benchmark, Target
from tests.house.repository import ROOT

PROMISED = {
    "gas": {"ours.publish", "ours.sale_new", "ours.sale_renewal", "ours.relayed_new"},
    "purchase": {"p50_ms", "p99_ms", "cpu_ms"},
    "seal": {"seal_gb_s", "open_gb_s", "extra_mib"},
    "delivery": {"ratio_to_nginx"},
    "log": {
        "durable_entries_s",
        "p99_ms",
        "single_writer_s",
        "proof_us",
        "verify_us",
        "fsck_entries_s",
        "growth_ratio",
        "bundle_bytes",
        "ratio_to_tessera",
    },
    "crash": {"rounds", "violations"},
}
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"


def _keys(figures: type[Any], prefix: str = "") -> Iterator[str]:
    """Every key of a dataclass, with those of the dataclasses inside it behind a dot."""
    for name, kind in typing.get_type_hints(figures).items():
        inner = next((k for k in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(k)), None)
        yield f"{prefix}{name}"
        if inner is not None:
            yield from _keys(typing.cast("type[Any]", inner), f"{prefix}{name}.")


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=list(BENCHMARKS))
def test_keys_are_declared(benchmark: Benchmark) -> None:
    """What a benchmark returns has the keys that were promised, and one for each of its targets."""
    keys = set(_keys(benchmark.module.Figures))
    assert PROMISED[benchmark.name] | {target.key for target in benchmark.targets} <= keys


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=list(BENCHMARKS))
def test_each_runs_in_two_sizes(benchmark: Benchmark) -> None:
    """A benchmark is a function of ``quick`` that returns its module's figures."""
    signature = inspect.signature(benchmark.module.run, eval_str=True)
    assert [(each.name, each.kind) for each in signature.parameters.values()] == [
        ("quick", inspect.Parameter.KEYWORD_ONLY)
    ]
    assert signature.return_annotation is benchmark.module.Figures


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=list(BENCHMARKS))
def test_keys_are_documented(benchmark: Benchmark) -> None:
    """The reference page has a section for the benchmark that names each of its keys and targets."""
    section = PAGE.read_text().partition(f"\n## {benchmark.name}\n")[2].partition("\n## ")[0]
    unnamed = [key for key in _keys(benchmark.module.Figures) if f"`{key.rpartition('.')[2]}`" not in section]
    assert unnamed == []
    assert [target.key for target in benchmark.targets if str(target) not in section] == []


def test_the_names_are_the_makefiles() -> None:
    """`make bench` runs every benchmark."""
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("BENCHMARKS ?="))
    assert line.split()[2:] == list(BENCHMARKS) == list(PROMISED)


def test_without_a_name_they_are_listed() -> None:
    """``python -m benchmarks`` prints each name with what it measures."""
    command = [sys.executable, "-m", "benchmarks"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(BENCHMARKS)


def test_a_target_has_one_bound() -> None:
    """A figure at its bound reaches its target, one beyond it and one that was not measured do not."""
    most, least = Target("a", most=3), Target("a", least=3)
    assert [most.reached(figure) for figure in (2, 3, 4, float("nan"))] == [True, True, False, False]
    assert [least.reached(figure) for figure in (2, 3, 4, float("nan"))] == [False, True, True, False]


def test_figures_become_json() -> None:
    """A figure of every kind that benchmarks use can be printed."""
    gas = BENCHMARKS["gas"].module
    sales = gas.Sales(0, 1, 2, 3, 4, 5)
    assert json.loads(json.dumps(dataclasses.asdict(gas.Figures(sales, None))))["ours"]["sale_new"] == 1
