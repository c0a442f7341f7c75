"""What every handler may ask for."""

from __future__ import annotations

from anyio import CapacityLimiter
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from databund.app.node import Node
from databund.core.ids import Address

__all__ = ["Holder", "PublicUrl", "TheNode", "Uploads"]

TheNode = NamedDependency[SkipValidation[Node]]
"""The node behind this application."""

Holder = NamedDependency[Address]
"""The signed-in account; asking for it makes a path need a token."""

PublicUrl = NamedDependency[str]
"""Where clients reach the node."""

Uploads = NamedDependency[SkipValidation[CapacityLimiter]]
"""The threads that uploads may hold."""
