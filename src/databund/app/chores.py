"""Chores: what a node does again and again while it runs, each on its own and none for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Chore"]


@dataclass(frozen=True)
class Chore:
    """One of them: its name in the node's own log, how long it rests, and one step, after which it rests again."""

    name: str
    every_s: float
    step: Callable[[], object]
