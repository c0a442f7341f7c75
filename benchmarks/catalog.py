"""The catalog: which benchmarks there are, and what each has to reach.

A benchmark is a module with a dataclass ``Figures``, whose fields are the keys that it prints, and a function
``run(*, quick)`` that returns one.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["BENCHMARKS", "Benchmark", "Target"]


@dataclass(frozen=True)
class Target:
    """What a figure has to reach: at most or at least a bound. ``key`` has a dot where a figure lies in a figure.

    ``counted`` figures do not depend on how busy the machine is, so missing one is an error.
    """

    key: str
    most: float | None = None
    least: float | None = None
    counted: bool = False

    def reached(self, figure: float) -> bool:
        """Whether the figure is within the bounds."""
        return (self.most is None or figure <= self.most) and (self.least is None or figure >= self.least)

    def __str__(self) -> str:
        return f"≤ {self.most:,g}" if self.least is None else f"≥ {self.least:,g}"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its name, which is also its module's, what it measures, and what it has to reach."""

    name: str
    about: str
    targets: tuple[Target, ...]

    @property
    def module(self) -> Any:
        """The module, imported when it is needed."""
        return import_module(f"benchmarks.{self.name}")


BENCHMARKS: dict[str, Benchmark] = {
    each.name: each
    for each in (
        Benchmark(
            "gas",
            "gas that listing and selling cost on the chain, by the receipts",
            (
                Target("ours.publish", most=0, counted=True),
                Target("ours.sale_new", most=118_000, counted=True),
                Target("ours.sale_renewal", most=84_000, counted=True),
                Target("ours.relayed_new", most=148_000, counted=True),
            ),
        ),
        Benchmark(
            "purchase",
            "one relayed purchase after another on a durable node",
            (Target("cpu_ms", most=40),),
        ),
        Benchmark(
            "seal",
            "sealing and opening a large file, file to file, beside a plain copy",
            (Target("seal_gb_s", least=1), Target("open_gb_s", least=1), Target("extra_mib", most=64, counted=True)),
        ),
        Benchmark(
            "delivery",
            "sending a large blob over loopback, beside nginx with sendfile",
            (Target("ratio_to_nginx", least=0.9),),
        ),
        Benchmark(
            "log",
            "durable, checkpointed log entries, proofs, verification and a full check, beside Tessera",
            (
                Target("durable_entries_s", least=10_000),
                Target("p99_ms", most=100),
                Target("single_writer_s", least=400),
                Target("proof_us", most=60),
                Target("verify_us", most=1500),
                Target("fsck_entries_s", least=150_000),
                Target("growth_ratio", most=1.3),
                Target("bundle_bytes", most=1500, counted=True),
            ),
        ),
        Benchmark(
            "crash",
            "trades whose node or client is killed at random moments",
            (Target("violations", most=0, counted=True),),
        ),
    )
}
