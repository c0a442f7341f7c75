"""Words for catalog search: one way to cut a text, for what is stored and for what is asked, on every engine.

The engines' own tokenizers differ in what a word is, and none of them cuts Chinese usefully. So both get words that
are already cut: NFKC, case-folded runs of letters and digits; runs of Chinese, Japanese and Korean characters as
overlapping pairs (机器学习 gives 机器 器学 学习 习). A single such character is looked up as the beginning of a word,
which the last character of a run, kept on its own, completes. Whoever changes `segment` rebuilds ``releases.words``
in a migration.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["fts5_query", "segment", "tsquery"]

_CJK = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUN = re.compile(f"([{_CJK}]+)|((?:(?![{_CJK}])[^\\W_])+)")
_LONGEST = 64
"""Longer words are cut to this many characters, in texts and queries alike: PostgreSQL takes no lexeme of 2 KiB."""


def segment(text: str) -> list[str]:
    """The words of a text, in order; letters and digits only, so no query syntax can be among them."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return list(_words(folded))


def fts5_query(text: str) -> str:
    """A SQLite FTS5 query for rows that have every word of ``text``; empty when there is none."""
    return " ".join(f'"{word}" *' if prefix else f'"{word}"' for word, prefix in _terms(text))


def tsquery(text: str) -> str:
    """A PostgreSQL tsquery for rows that have every word of ``text``; empty when there is none."""
    return " & ".join(f"'{word}':*" if prefix else f"'{word}'" for word, prefix in _terms(text))


def _words(folded: str) -> Iterator[str]:
    for run in _RUN.finditer(folded):
        if run[2]:
            yield run[2][:_LONGEST]
        else:
            yield from (run[1][at : at + 2] for at in range(len(run[1])))


def _terms(text: str) -> list[tuple[str, bool]]:
    """Each word once, and whether it stands for all words that begin with it: those of one CJK character."""
    words = dict.fromkeys(segment(text))
    pairs = "".join(word for word in words if len(word) == 2)
    return [
        (word, alone)
        for word in words
        if not ((alone := re.fullmatch(f"[{_CJK}]", word) is not None) and word in pairs)
    ]
