"""What every handler may ask for."""

from __future__ import annotations

from typing import Annotated

from litestar.params import Dependency

from databund.app.node import Node

__all__ = ["TheNode"]

TheNode = Annotated[Node, Dependency(skip_validation=True)]
"""The node behind this application."""
