"""The words of a usage policy: the terms of ODRL 2.2 that we decide, and our profile's own.

Source: https://www.w3.org/TR/odrl-vocab/ (2018-02-15). ODRL puts ``display`` under ``play``, which we do not decide;
here it is directly under ``use``. ``databund:train`` is the profile's own action: to fit a model to the asset.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "CORE_PROFILE",
    "ODRL",
    "ODRL_CONTEXT",
    "PLACE",
    "PREFIXES",
    "PROFILE",
    "Action",
    "DutyAction",
    "LeftOperand",
    "Operator",
    "PolicyType",
    "expand",
]

ODRL = "http://www.w3.org/ns/odrl/2/"
ODRL_CONTEXT = "http://www.w3.org/ns/odrl.jsonld"
CORE_PROFILE = "http://www.w3.org/ns/odrl/2/core"
PROFILE = "https://w3id.org/databund/odrl/1"
"""The identifier of our ODRL profile; its terms are ``PROFILE#term``, written ``databund:term``."""

PLACE = "https://www.iso.org/obp/ui/#iso:code:3166:"
"""The IRI form of an ISO 3166 code, as in the W3C's examples."""

PREFIXES = {
    "odrl": ODRL,
    "databund": PROFILE + "#",
    "dct": "http://purl.org/dc/terms/",
    "dc": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
}
"""The only prefixes a policy may use, with their only meanings."""


def expand(name: str) -> str:
    """Replace a known prefix by its IRI: ``odrl:use`` gives ``http://www.w3.org/ns/odrl/2/use``."""
    prefix, colon, rest = name.partition(":")
    return PREFIXES[prefix] + rest if colon and prefix in PREFIXES else name


class PolicyType(StrEnum):
    """The kinds of policy (ODRL information model §2.1); ``Policy`` is another name of ``Set``."""

    SET = "Set"
    OFFER = "Offer"
    AGREEMENT = "Agreement"


class Action(StrEnum):
    """What a permission or prohibition is about. ``use`` encompasses every other action except ``transfer``."""

    USE = "use"
    READ = "read"
    REPRODUCE = "reproduce"
    DISPLAY = "display"
    DISTRIBUTE = "distribute"
    DERIVE = "derive"
    AGGREGATE = "aggregate"
    TRAIN = "databund:train"
    TRANSFER = "transfer"

    def within(self, other: Action) -> bool:
        """Whether ``other`` is this action or encompasses it (ODRL ``includedIn``)."""
        return self is other or (other is Action.USE and self is not Action.TRANSFER)


class DutyAction(StrEnum):
    """What a duty may oblige to. These are owed after the use; duties that gate the use are refused, not assumed."""

    ACCEPT_TRACKING = "acceptTracking"
    ANONYMIZE = "anonymize"
    ATTRIBUTE = "attribute"
    DELETE = "delete"
    INFORM = "inform"
    REVIEW_POLICY = "reviewPolicy"
    WATERMARK = "watermark"

    @property
    def party(self) -> str | None:
        """The ODRL party function that tells whom the duty is towards, for the actions that have one."""
        return {
            DutyAction.ACCEPT_TRACKING: "trackingParty",
            DutyAction.ATTRIBUTE: "attributedParty",
            DutyAction.INFORM: "informedParty",
        }.get(self)


class LeftOperand(StrEnum):
    """What a constraint looks at; the facts of a request give each of them a value, or leave it unknown."""

    PURPOSE = "purpose"
    COUNT = "count"
    ELAPSED_TIME = "elapsedTime"
    DATE_TIME = "dateTime"
    RECIPIENT = "recipient"
    SPATIAL = "spatial"

    @property
    def is_term(self) -> bool:
        """Whether values are terms with a hierarchy; the others are quantities with an order."""
        return self in {LeftOperand.PURPOSE, LeftOperand.RECIPIENT, LeftOperand.SPATIAL}

    @property
    def operators(self) -> frozenset[Operator]:
        """The operators that have a meaning for this operand."""
        if not self.is_term:
            return _EQUALITY | _ORDER
        if self is LeftOperand.SPATIAL:
            return _EQUALITY | _SETS | {Operator.IS_PART_OF}
        return _EQUALITY | _SETS | {Operator.IS_PART_OF, Operator.IS_A}


class Operator(StrEnum):
    """How a constraint compares. ``eq`` and ``neq`` compare terms exactly; the rest follow the hierarchy downwards."""

    EQ = "eq"
    NEQ = "neq"
    LT = "lt"
    LTEQ = "lteq"
    GT = "gt"
    GTEQ = "gteq"
    IS_A = "isA"
    IS_PART_OF = "isPartOf"
    IS_ANY_OF = "isAnyOf"
    IS_ALL_OF = "isAllOf"
    IS_NONE_OF = "isNoneOf"

    @property
    def takes_list(self) -> bool:
        """Whether the right operand is a set of values."""
        return self in _SETS


_EQUALITY = frozenset({Operator.EQ, Operator.NEQ})
_ORDER = frozenset({Operator.LT, Operator.LTEQ, Operator.GT, Operator.GTEQ})
_SETS = frozenset({Operator.IS_ANY_OF, Operator.IS_ALL_OF, Operator.IS_NONE_OF})
