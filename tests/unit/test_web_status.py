"""The page of a log: every state in both languages, escaping, negotiation, and the style sheet's contrast."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from string import Formatter

import pytest
from msgspec.structs import replace

from databund.core.ids import Hex
from databund.core.log_status import Anchor, AnchoringStatus, CosigningStatus, LogStatus, WitnessStatus
from databund.web.log_page import LATE_S, LogPage
from databund.web.markup import Markup, element, fill
from databund.web.texts import TABLE, Language, Texts, negotiated

NOW = 1_790_000_000
URL = "https://data.example.com"
HOSTILE = "<script>alert(1)</script>&\"'\u202e\x1b\ud800"
STYLE = resources.files("databund.web").joinpath("style.css").read_text("utf-8")


def witness(name: str, **changes: object) -> WitnessStatus:
    """A witness that cosigned everything 42 seconds ago."""
    return replace(WitnessStatus(name, f"https://{name}", 1234, NOW - 42, None), **changes)


def cosigned(*witnesses: WitnessStatus, **changes: object) -> CosigningStatus:
    """A policy that is met, by three witnesses where none are named."""
    chosen = witnesses or (witness("a.example"), witness("b.example"), witness("c.example"))
    return replace(CosigningStatus(1234, NOW - 42, chosen, None), **changes)


def status(**changes: object) -> LogStatus:
    """The status of a log that is in order."""
    anchor = Anchor(1200, Hex(bytes(range(32))), "0x" + "ab" * 32, NOW - 7200)
    sound = LogStatus(
        origin="data.example.com/log",
        log_key="data.example.com/log+1a2b3c4d+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        size=1234,
        root="5f" * 32,
        halted=None,
        cosigning=cosigned(),
        anchoring=AnchoringStatus(newest=anchor, on_chain=True, deferred=None),
    )
    return replace(sound, **changes)


STATES = {
    "good": status(),
    "trouble": status(cosigning=cosigned(witness("a.example", error="It answered 503."), witness("b.example"))),
    "late": status(cosigning=cosigned(at=NOW - LATE_S - 1)),
    "unmet": status(cosigning=cosigned(witness("a.example", size=None, at=None), size=None, at=None)),
    "unwatched": status(cosigning=None),
    "empty": status(size=0, cosigning=None, anchoring=None),
    "halted": status(halted="The head is newer than the database."),
    "fork": status(cosigning=cosigned(fork="Two histories of size 7.")),
}


class Reader(HTMLParser):
    """Reads a page as a browser does: the tags, whether they nest, the text, and the style of its notice."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    @property
    def text(self) -> str:
        """What is read, without the style sheet."""
        return " ".join("".join(self.words).split())

    @property
    def level(self) -> str:
        """How the notice at the top is to be taken."""
        return next(kind.split()[1] for _, held in self.tags if (kind := held.get("class") or "").startswith("notice "))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Compare with the tag that is open."""
        assert self.open.pop() == tag
        if tag in ("dd", "dt", "h1", "h2", "li", "p", "td", "th", "title"):
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def read(found: LogStatus, language: Language = Language.ENGLISH, url: str = URL) -> Reader:
    """The page about this status, read."""
    page = LogPage(
        status=found, now=NOW, texts=Texts(language), public_url=url, version="1.2.3", style=Markup(STYLE)
    ).render()
    reader = Reader(page.decode())
    assert reader.open == []
    return reader


def hrefs(reader: Reader) -> list[str]:
    """Where the page's links lead."""
    return [held["href"] or "" for tag, held in reader.tags if tag == "a"]


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize(
    ("state", "level", "key"),
    [
        ("good", "good", "good"),
        ("unmet", "warn", "unmet"),
        ("unwatched", "quiet", "unwatched"),
        ("empty", "quiet", "empty"),
        ("halted", "bad", "halted"),
        ("fork", "bad", "halted"),
    ],
)
def test_each_state_is_said_first(state: str, level: str, key: str, language: Language) -> None:
    """The notice at the top names the state, in the words and the color of it, in either language."""
    page = read(STATES[state], language)

    assert page.level == level
    assert TABLE[key][language] in page.text


@pytest.mark.parametrize("state", STATES)
def test_both_languages_show_the_same_facts(state: str) -> None:
    """The English and the Chinese page have the same elements, and only the latter has Chinese in it."""
    english, chinese = read(STATES[state]), read(STATES[state], Language.CHINESE)

    assert [tag for tag, _ in english.tags] == [tag for tag, _ in chinese.tags]
    assert (english.tags[0], chinese.tags[0]) == (("html", {"lang": "en"}), ("html", {"lang": "zh-Hans"}))
    assert re.findall("[\u4e00-\u9fff]+", english.text) == ["中文"]


def test_texts_exist_in_every_language() -> None:
    """Each text is there in each language, none is empty, and what is filled in has the same names."""
    for key, row in TABLE.items():
        named = [{name for _, name, _, _ in Formatter().parse(row[language]) if name} for language in Language]
        assert set(row) == set(Language), key
        assert all(row.values()), key
        assert all(a == b for a, b in pairwise(named)), key


def test_halted_log_says_why_once() -> None:
    """A log that a fork halted says the reason once, and the title says that it is halted."""
    why = "The log was signed with two histories of size 7."
    page = read(status(halted=why, cosigning=cosigned(fork=why)))

    assert page.text.count(why) == 1
    assert page.text.startswith("HALTED")


def test_witness_in_trouble_is_counted_and_quoted() -> None:
    """A policy that is met in spite of a witness's trouble is no green page: it says how many, which, and what."""
    page = read(STATES["trouble"])

    assert page.level == "warn"
    assert "1 of 2 witnesses" in page.text
    assert "trouble It answered 503." in page.text


def test_silent_witnesses_are_not_in_order() -> None:
    """Two hours without a cosignature are said at the top; a minute less is in order."""
    assert read(STATES["late"]).level == "warn"
    assert "The witnesses last cosigned 2 hours ago." in read(STATES["late"]).text
    assert read(status(cosigning=cosigned(at=NOW - LATE_S + 60))).level == "good"


def test_witness_without_url_is_no_trouble() -> None:
    """A witness that the policy gives no URL is shown as not asked, and not counted as failing."""
    quiet = witness("b.example", url=None, size=None, at=None, error="The policy gives no URL for it.")
    page = read(status(cosigning=cosigned(witness("a.example"), quiet)))

    assert page.level == "good"
    assert "not asked: the policy gives no URL" in page.text


def test_policy_behind_the_log_says_how_far() -> None:
    """Where the policy is met for fewer entries than there are, both numbers are shown."""
    assert "met for 1,200 of 1,234 entries, as of 42 seconds ago" in read(status(cosigning=cosigned(size=1200))).text


@pytest.mark.parametrize("language", Language)
def test_everything_from_outside_is_escaped(language: Language) -> None:
    """Names, errors and reasons of others appear as text: no element, no attribute, no direction of theirs."""
    bad = witness(HOSTILE, url=HOSTILE, error=HOSTILE)
    anchor = Anchor(1, Hex(bytes(32)), HOSTILE, NOW)
    hostile = status(
        origin=HOSTILE, log_key=HOSTILE, halted=HOSTILE, cosigning=cosigned(bad, fork=HOSTILE),
        anchoring=AnchoringStatus(newest=anchor, on_chain=False, deferred=HOSTILE),
    )  # fmt: skip
    page = read(hostile, language, url=f"{URL}/{HOSTILE}")

    tame = status(
        halted="?", cosigning=cosigned(witness("a", error="?"), fork="?"),
        anchoring=AnchoringStatus(newest=anchor, on_chain=False, deferred="?"),
    )  # fmt: skip
    assert [(tag, set(held)) for tag, held in page.tags] == [(t, set(held)) for t, held in read(tame, language).tags]
    assert page.text.count("<script>alert(1)</script>&\"'\ufffd\ufffd\ufffd") >= 9
    assert not set("\u202e\x1b\ud800") & set(page.text)


def test_page_needs_nothing_else() -> None:
    """No page has a script, a form, an image, a handler or an inline style, nor loads anything from anywhere."""
    for found in STATES.values():
        page = read(found)
        assert not {"script", "form", "img", "iframe", "link", "object", "base"} & {tag for tag, _ in page.tags}
        assert not [name for _, held in page.tags for name in held if name.startswith("on") or name in ("src", "style")]
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_links_lead_only_to_what_answers() -> None:
    """An empty log has no checkpoint to offer, and one whose policy is unmet no cosigned one."""
    assert hrefs(read(STATES["empty"])) == ["?lang=zh", "/schema/openapi.json"]
    assert hrefs(read(STATES["unmet"]))[1:3] == ["/log/checkpoint/newest", "/log/status"]
    assert hrefs(read(STATES["good"], url=f"{URL}/shop"))[1] == "/shop/log/checkpoint"


def test_times_are_said_and_exact() -> None:
    """Each time is shown as people say it and in UTC, and is machine-readable."""
    page = read(status())

    assert "2 hours ago (2026-09-21 12:13:20 UTC)" in page.text
    assert {"datetime": "2026-09-21T12:13:20Z", "title": "2026-09-21 12:13:20 UTC"} in [
        held for tag, held in page.tags if tag == "time"
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"), (-60, "just now"), (-61, "in the future"), (1, "1 second ago"), (59, "59 seconds ago"),
        (60, "1 minute ago"), (3599, "59 minutes ago"), (3600, "1 hour ago"), (86_400, "1 day ago"),
        (90_000_000, "1,041 days ago"),
    ],
)  # fmt: skip
def test_elapsed_time_has_its_largest_unit(seconds: int, said: str) -> None:
    """How long ago something is, is said in one unit; a clock that is ahead is named."""
    page = read(status(anchoring=None, cosigning=cosigned(witness("a", at=NOW - seconds))))
    assert f"1,234 {said}" in page.text


def test_root_is_short_and_whole() -> None:
    """The root is shown by its beginning, and whole on demand."""
    assert {"title": "5f" * 32} in [held for tag, held in read(status()).tags if tag == "code"]


def test_commands_are_quoted_for_the_shell() -> None:
    """A URL or key that a shell would take apart is quoted in the commands to copy."""
    page = read(status(log_key="a;b+1+c"), url="https://x.example/$(id)")
    assert "databund audit watch 'https://x.example/$(id)' \\ --key 'a;b+1+c'" in page.text


def test_anchor_says_where_it_is() -> None:
    """An anchor is on the chain or on its way, and a deferred one says why."""
    anchoring = status().anchoring
    assert anchoring is not None
    assert "on the chain" in read(status()).text
    waiting = read(status(anchoring=replace(anchoring, on_chain=False, deferred="Too dear.")))
    assert "on its way to the chain" in waiting.text
    assert "The next one is deferred: Too dear." in waiting.text
    assert "Nothing is anchored yet." in read(status(anchoring=replace(anchoring, newest=None))).text


@pytest.mark.parametrize(
    ("asked", "accepted", "chosen"),
    [
        (None, "", "en"), (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"), (None, "en-US,en;q=0.9,zh;q=0.8", "en"),
        (None, "fr;q=0.9, ZH-Hant;q=0.5, en;q=0.4", "zh"), (None, "fr, de", "en"), (None, "zh;q=0", "en"),
        (None, "zh;q=x, en;q=0.1", "en"), (None, "zh;q=inf", "en"), (None, "zh;q=٣", "en"), (None, ",;q=1,*", "en"),
        ("zh", "en", "zh"), ("en", "zh", "en"), ("fr", "zh", "zh"), ("", "zh", "zh"),
    ],
)  # fmt: skip
def test_language_is_negotiated(asked: str | None, accepted: str, chosen: str) -> None:
    """What is asked for decides, then the browser's preference, then English; nonsense is passed over."""
    assert negotiated(asked, accepted) == chosen


def test_elements_escape_but_markup() -> None:
    """Children and attributes are escaped unless they are markup; a value that holds braces is not filled again."""
    assert element("p", "<", Markup("<b>"), None, class_="a\"'", title=None) == '<p class="a&quot;&#x27;">&lt;<b></p>'
    assert fill("<{a}>", a="{b}&") == "&lt;{b}&amp;&gt;"


def test_colors_are_readable() -> None:
    """Every text has a contrast of 4.5 to 1 with its ground, in light and in dark (WCAG 2.2, criterion 1.4.3)."""
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    ]
    tones = ("good", "warn", "bad", "quiet")
    pairs = [(tone, "ground") for tone in ("ink", "muted", "link", *tones)] + [("ink", "raised")]
    pairs += [(ink, f"{tone}-ground") for tone in tones for ink in ("ink", tone)]

    assert len(schemes) == 2
    assert [(a, b) for scheme in schemes for a, b in pairs if _contrast(scheme[a], scheme[b]) < 4.5] == []


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
