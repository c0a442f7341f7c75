"""Markup: HTML built from elements, in which everything is escaped that is not markup itself.

A plain ``str`` is a text from anywhere, so its ``<``, ``&`` and quotes are escaped, and what cannot be seen is shown as
U+FFFD: control characters (but line ends), direction overrides, lone surrogates. Tags and names of attributes are the
caller's own words. Standard: HTML (WHATWG), sections 13.1.2 and 13.3.
"""

from __future__ import annotations

from html import escape

__all__ = ["Markup", "element", "fill", "join", "text"]

_VOID = frozenset({"meta"})


class Markup(str):
    """HTML that needs no escaping any more."""

    __slots__ = ()


def text(value: str) -> Markup:
    """The value as markup: what it is already, or a text with every special or invisible character replaced."""
    if isinstance(value, Markup):
        return value
    return Markup(escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in value)))


def element(tag: str, *children: str | None, **attributes: str | None) -> Markup:
    """An element; children and attributes that are None are left out.

    In the name of an attribute ``_`` stands for ``-``, and one at the end for nothing (``class_``).
    """
    named = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None)
    inside = " ".join((tag, *(f'{name}="{text(value)}"' for name, value in named)))
    return Markup(f"<{inside}>") if tag in _VOID else Markup(f"<{inside}>{join(*children)}</{tag}>")


def fill(template: str, **values: str) -> Markup:
    """The text ``template``, in which each ``{name}`` is replaced by a value."""
    return Markup(text(template).format(**{name: text(value) for name, value in values.items()}))


def join(*parts: str | None) -> Markup:
    """The parts one after another; those that are None are left out."""
    return Markup("".join(text(part) for part in parts if part is not None))
