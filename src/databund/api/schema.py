"""How identifiers and amounts look in the OpenAPI description: strings with a pattern."""

from __future__ import annotations

from typing import Any

from litestar._openapi.schema_generation import SchemaCreator
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from databund.core.amounts import Amount
from databund.core.ids import Address, Bytes32, Hex

__all__ = ["IdentifierSchemas"]

_PATTERNS: tuple[tuple[type, str, str], ...] = (
    (Bytes32, "^0x[0-9a-f]{64}$", "32 bytes"),
    (Address, "^0x[0-9a-fA-F]{40}$", "an account (EIP-55)"),
    (Hex, "^0x([0-9a-fA-F]{2})*$", "bytes"),
    (Amount, "^[0-9]{1,39}$", "base units of a currency"),
)


class IdentifierSchemas(OpenAPISchemaPlugin):
    """Describes the core's own value types."""

    __slots__ = ()

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether ``value`` is one of our value types."""
        return isinstance(value, type) and issubclass(value, Bytes32 | Address | Hex | Amount)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:  # noqa: ARG002
        """The string schema of the type."""
        kind = field_definition.annotation
        pattern, meaning = next((p, m) for base, p, m in _PATTERNS if issubclass(kind, base))
        return Schema(type=OpenAPIType.STRING, pattern=pattern, description=f"{kind.__name__}: {meaning}")
