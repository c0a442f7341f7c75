"""The page of a log: how it stands with its witnesses and its anchors, and how to check that without believing it.

It is a function of the status and the time. The state that matters most is said first, in words, with a sign and a
color: halted, empty, unwatched, policy not met, witnesses silent, a witness in trouble, or in order.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlsplit

from databund.core.log_status import AnchoringStatus, CosigningStatus, LogStatus, WitnessStatus
from databund.web.markup import Markup, element, fill, join
from databund.web.texts import Language, Texts

__all__ = ["LATE_S", "LogPage"]

LATE_S = 2 * 3600
"""Witnesses are asked once an hour at least, so that two hours are silence."""

_SHORT_DIGITS = 16
_CLOCKS_DIFFER_S = 60
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
_NAMES = {Language.ENGLISH: "English", Language.CHINESE: "中文"}
_TAGS = {Language.ENGLISH: "en", Language.CHINESE: "zh-Hans"}


class _Level(StrEnum):
    """How a state is to be taken; its sign says it to who does not see the color."""

    GOOD = "good"
    QUIET = "quiet"
    WARN = "warn"
    BAD = "bad"

    @property
    def sign(self) -> Markup:
        """A sign for the eye; the words beside it say the same."""
        signs = {_Level.GOOD: "✓", _Level.QUIET: "○", _Level.WARN: "!", _Level.BAD: "✕"}
        return element("span", signs[self], class_="sign", aria_hidden="true")


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """A page about ``status`` at the time ``now`` (POSIX seconds).

    ``public_url`` is where clients reach the node, ``version`` that of the software, ``style`` the style sheet.
    """

    status: LogStatus
    now: int
    texts: Texts
    public_url: str
    version: str
    style: Markup

    def render(self) -> bytes:
        """The whole document, in UTF-8."""
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", fill("{what} · {name}", what=self.texts(self._title), name=self.status.origin)),
            element("style", self.style),
        )
        main = element(
            "main", self._banner(), self._log(), self._witnesses(), self._anchor(), self._check(), self._links()
        )
        body = element("body", self._header(), main, self._footer())
        return ("<!doctype html>\n" + element("html", head, body, lang=_TAGS[self.texts.language])).encode()

    @property
    def _halted(self) -> bool:
        return self.status.halted is not None or self._fork is not None

    @property
    def _fork(self) -> str | None:
        return None if self.status.cosigning is None else self.status.cosigning.fork

    @property
    def _title(self) -> str:
        return "title.halted" if self._halted else "title"

    def _header(self) -> Markup:
        others = (language for language in Language if language is not self.texts.language)
        links = (
            element("a", _NAMES[other], href=f"?lang={other}", hreflang=_TAGS[other], lang=_TAGS[other])
            for other in others
        )
        return element(
            "header",
            element("nav", *links, aria_label=self.texts("languages")),
            element("h1", self.texts("title")),
            element("p", self.texts("lead"), class_="muted"),
        )

    def _banner(self) -> Markup:
        """The state that matters most."""
        if self._halted:
            return self._notice(_Level.BAD, self.texts("halted"), *self._reasons(), self.texts("halted.more"))
        cosigning = self.status.cosigning
        if self.status.size == 0:
            return self._notice(_Level.QUIET, self.texts("empty"), self.texts("empty.more"))
        if cosigning is None:
            return self._notice(_Level.QUIET, self.texts("unwatched"), self.texts("unwatched.more"))
        if cosigning.size is None or cosigning.at is None:
            return self._notice(_Level.WARN, self.texts("unmet"), self.texts("unmet.more"))
        if self.now - cosigning.at > LATE_S:
            return self._notice(_Level.WARN, self.texts("late", when=self._ago(cosigning.at)), self.texts("late.more"))
        if troubled := sum(map(_is_in_trouble, cosigning.witnesses)):
            counts = {"count": f"{troubled:,}", "all": f"{len(cosigning.witnesses):,}"}
            return self._notice(_Level.WARN, self.texts("trouble", **counts))
        return self._notice(_Level.GOOD, self.texts("good"))

    def _reasons(self) -> Iterator[Markup]:
        """Why nothing is signed; a fork is most often the reason itself, and then said once."""
        if self._fork is not None:
            yield self.texts("halted.fork")
        for reason in dict.fromkeys((self.status.halted, self._fork)):
            if reason is not None:
                yield self.texts("halted.reason", reason=_foreign(reason))

    def _notice(self, level: _Level, headline: str, *more: str) -> Markup:
        return element(
            "section",
            element("h2", level.sign, headline, id="state"),
            *(element("p", line) for line in more),
            class_=f"notice {level}",
            aria_labelledby="state",
        )

    def _log(self) -> Markup:
        found = self.status
        root = _short(found.root) if found.size else self.texts("log.none")
        return self._section(
            "log",
            _facts(
                (self.texts("log.name"), _own(found.origin)),
                (self.texts("log.key"), element("code", found.log_key, class_="copy")),
                (self.texts("log.size"), f"{found.size:,}"),
                (self.texts("log.root"), root),
            ),
        )

    def _witnesses(self) -> Markup:
        found = self.status.cosigning
        if found is None:
            return self._section("witnesses", element("p", self.texts("witnesses.no_policy")))
        if found.size is None:
            policy = self.texts("witnesses.unmet")
        else:
            key = "witnesses.met.all" if found.size == self.status.size else "witnesses.met"
            sizes = {"all": f"{self.status.size:,}"} | ({} if key.endswith("all") else {"size": f"{found.size:,}"})
            policy = self.texts(key, when=self._when(found.at), **sizes)
        table = self._table(found) if found.witnesses else element("p", self.texts("witnesses.none"))
        return self._section("witnesses", element("p", policy), table)

    def _table(self, found: CosigningStatus) -> Markup:
        # The roles are those that the elements have anyway; browsers take them away where a narrow screen stacks cells.
        names = [self.texts(f"witness{column}") for column in ("", ".state", ".size", ".at")]
        classes = (None, None, "number", None)
        head = (
            element("th", name, scope="col", role="columnheader", class_=kind)
            for name, kind in zip(names, classes, strict=True)
        )
        rows = (self._row(witness, names) for witness in found.witnesses)
        return element(
            "table",
            element("thead", element("tr", *head, role="row"), role="rowgroup"),
            element("tbody", *rows, role="rowgroup"),
            role="table",
            aria_labelledby="witnesses",
        )

    def _row(self, witness: WitnessStatus, names: list[Markup]) -> Markup:
        url = None if witness.url is None else element("span", _own(witness.url), class_="muted url")
        cells = (
            self._state(witness),
            "–" if witness.size is None else f"{witness.size:,}",
            "–" if witness.at is None else self._when(witness.at),
        )
        classes = (None, "number", None)
        return element(
            "tr",
            element("th", element("span", _own(witness.name), class_="name"), url, scope="row", role="rowheader"),
            *(
                element("td", element("div", cell), role="cell", data_label=name, class_=kind)
                for cell, name, kind in zip(cells, names[1:], classes, strict=True)
            ),
            role="row",
        )

    def _state(self, witness: WitnessStatus) -> Markup:
        if witness.url is None:
            return _badge(_Level.QUIET, self.texts("witness.unasked"))
        if witness.error is not None:
            return join(_badge(_Level.WARN, self.texts("witness.trouble")), " ", _foreign(witness.error))
        if witness.size is None:
            return _badge(_Level.QUIET, self.texts("witness.waiting"))
        return _badge(_Level.GOOD, self.texts("witness.good"))

    def _anchor(self) -> Markup:
        found = self.status.anchoring
        if found is None:
            return self._section("anchor", element("p", self.texts("anchor.off")))
        newest = self._newest_anchor(found)
        if found.deferred is None:
            return self._section("anchor", newest)
        deferred = _badge(_Level.WARN, self.texts("anchor.deferred"))
        return self._section("anchor", newest, element("p", deferred, " ", _foreign(found.deferred), class_="after"))

    def _newest_anchor(self, found: AnchoringStatus) -> Markup:
        newest = found.newest
        if newest is None:
            return element("p", self.texts("anchor.none"))
        level, key = (_Level.GOOD, "anchor.on_chain") if found.on_chain else (_Level.QUIET, "anchor.under_way")
        return _facts(
            (self.texts("anchor.state"), _badge(level, self.texts(key))),
            (self.texts("anchor.size"), f"{newest.size:,}"),
            (self.texts("anchor.at"), self._when(newest.at)),
            (self.texts("anchor.root"), _short(bytes(newest.root).hex())),
            (self.texts("anchor.chain_transaction"), element("code", newest.chain_transaction, class_="copy")),
        )

    def _check(self) -> Markup:
        url, key = shlex.quote(self.public_url), shlex.quote(self.status.log_key)
        tiles = element("code", f"{self.public_url}/log/tile/")
        ways = (
            (self.texts("check.watch"), _lines(f"databund audit watch {url} \\", f"  --key {key}")),
            (
                self.texts("check.verify"),
                _lines(
                    "databund audit export log.zip \\",
                    f"  --node {url}",
                    "databund audit verify log.zip \\",
                    f"  --key {key}",
                ),
            ),
            (
                self.texts("check.go", tiles=tiles),
                _lines(
                    "verifier, err := note.NewVerifier(key)",
                    "checkpoint, err := note.Open(signed, note.VerifierList(verifier))",
                    "err = tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry))",
                ),
            ),
        )
        steps = (element("li", said, element("code", command, class_="copy command")) for said, command in ways)
        return self._section("check", element("p", self.texts("check.lead")), element("ol", *steps))

    def _links(self) -> Markup:
        """Only what answers: an empty log has no checkpoint, and an unmet policy no cosigned one."""
        prefix, cosigning = urlsplit(self.public_url).path, self.status.cosigning
        links = [("links.openapi", "/schema/openapi.json")]
        if self.status.size:
            links = [("links.newest", "/log/checkpoint/newest"), ("links.status", "/log/status"), *links]
        if cosigning is not None and cosigning.size is not None:
            links = [("links.checkpoint", "/log/checkpoint"), *links]
        items = (element("li", element("a", self.texts(key), href=f"{prefix}{path}")) for key, path in links)
        return self._section("links", element("ul", *items))

    def _footer(self) -> Markup:
        moment = element("time", _moment(self.now), datetime=_machine(self.now))
        return element("footer", element("p", self.texts("made", time=moment, version=self.version)), class_="muted")

    def _section(self, key: str, *content: str) -> Markup:
        return element("section", element("h2", self.texts(key), id=key), *content, aria_labelledby=key)

    def _when(self, at: int | None) -> Markup:
        """A time as people say it, and in full."""
        if at is None:
            return Markup("–")
        return join(self._ago(at), " ", element("span", f"({_moment(at)})", class_="muted moment"))

    def _ago(self, at: int) -> Markup:
        return element("time", self._elapsed(self.now - at), datetime=_machine(at), title=_moment(at))

    def _elapsed(self, elapsed_s: int) -> Markup:
        if elapsed_s < -_CLOCKS_DIFFER_S:
            return self.texts("ahead")
        for unit, unit_s in _UNITS:
            if count := max(0, elapsed_s) // unit_s:
                return self.texts(f"ago.{unit}") if count == 1 else self.texts(f"ago.{unit}s", count=f"{count:,}")
        return self.texts("now")


def _is_in_trouble(witness: WitnessStatus) -> bool:
    """Whether it was asked and did not do well; one that the policy gives no URL is not asked."""
    return witness.url is not None and witness.error is not None


def _lines(*lines: str) -> str:
    return "\n".join(lines)


def _facts(*pairs: tuple[str, str]) -> Markup:
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs))


def _badge(level: _Level, said: str) -> Markup:
    return element("span", level.sign, said, class_=f"badge {level}")


def _own(name: str) -> Markup:
    """A name that others chose; its direction does not spill over."""
    return element("bdi", name)


def _foreign(said: str) -> Markup:
    """A text of the node or a stranger, which is in English or unknown."""
    return element("bdi", said, lang="en")


def _short(digits: str) -> Markup:
    return element("code", f"{digits[:_SHORT_DIGITS]}…", title=digits)


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _machine(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
