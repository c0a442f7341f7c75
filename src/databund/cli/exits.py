"""Exit codes: how a program learns from a command what a person reads in its message.

The branch of the error tree decides, so a new error class has its code without a change here.
"""

from __future__ import annotations

from enum import IntEnum

from databund.errors import DatabundError, Denied, IntegrityFailed, InvalidInput, NotFound, Refused, Unavailable

__all__ = ["Exit", "exit_of"]


class Exit(IntEnum):
    """How a command ended."""

    about: str

    def __new__(cls, code: int, about: str) -> Exit:
        """A code, and what it says in a few words."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.about = about
        return member

    OK = 0, "done"
    DEFECT = 1, "a defect of databund; please report it"
    INVALID_INPUT = 2, "a value or option cannot be used"
    DENIED = 3, "who asks may not do this"
    NOT_FOUND = 4, "no such thing"
    REFUSED = 5, "not possible as things stand; nothing was paid"
    INTEGRITY_FAILED = 6, "what arrived is not what was promised; nothing of it was used"
    UNAVAILABLE = 7, "a part does not answer; the same command may be run again"
    INTERRUPTED = 130, "stopped by Ctrl-C"


_BRANCHES: dict[type[DatabundError], Exit] = {
    InvalidInput: Exit.INVALID_INPUT,
    Denied: Exit.DENIED,
    NotFound: Exit.NOT_FOUND,
    Refused: Exit.REFUSED,
    IntegrityFailed: Exit.INTEGRITY_FAILED,
    Unavailable: Exit.UNAVAILABLE,
}


def exit_of(error: DatabundError) -> Exit:
    """The exit code of an error's branch; `Exit.DEFECT` for one of no branch, as a node reports its own defects."""
    return next((code for branch, code in _BRANCHES.items() if isinstance(error, branch)), Exit.DEFECT)
