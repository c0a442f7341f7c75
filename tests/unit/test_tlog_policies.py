"""Witness policies: each rule of c2sp.org/tlog-policy, and each single reason to refuse a file."""

from __future__ import annotations

from itertools import combinations

import pytest

from databund.errors import CheckpointInvalid, DocumentInvalid
from databund.sdk.log_keys import verifier
from databund.tlog.notes import Signature, SignatureType
from databund.tlog.policies import MAX_GROUPS, MAX_LOGS, MAX_WITNESSES, WitnessPolicy
from tests.unit.tlog_keys import Key, witness_key

LOG = Key("log.example")
X = [witness_key(f"x{number}.example") for number in range(1, 4)]
Y = [witness_key(f"y{number}.example") for number in range(1, 4)]
ML_DSA = witness_key("ml-dsa.example", SignatureType.ML_DSA_44)
EXAMPLE = f"""\
log {LOG.vkey}

witness X1 {X[0].vkey}
witness X2 {X[1].vkey}
witness X3 {X[2].vkey}
group X-witnesses 2 X1 X2 X3

witness Y1 {Y[0].vkey}
witness Y2 {Y[1].vkey}
witness Y3 {Y[2].vkey}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""
ONE = f"witness w {X[0].vkey}\nquorum w\n"


def parse(text: str | bytes) -> WitnessPolicy:
    """The policy of this text."""
    return WitnessPolicy.parse(text if isinstance(text, bytes) else text.encode(), verifier)


def lines_of(*keys: Key) -> list[Signature]:
    """Signature lines by these keys, as if they had been verified."""
    return [Signature(key.vkey.name, key.vkey.key_id, b"value") for key in keys]


def enough(policy: WitnessPolicy, *keys: Key) -> bool:
    """Whether the policy is satisfied by these witnesses."""
    try:
        policy.check(lines_of(*keys))
    except CheckpointInvalid:
        return False
    return True


def test_example_of_the_specification_is_read() -> None:
    """The example names one log, six witnesses and three groups."""
    policy = parse(EXAMPLE)

    assert [log.key for log in policy.logs] == [LOG.vkey]
    assert [witness.name for witness in policy.witnesses] == ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
    assert [(group.name, group.threshold) for group in policy.groups] == [
        ("X-witnesses", 2),
        ("Y-witnesses", 1),
        ("X-and-Y", 2),
    ]


def test_example_is_decided_as_the_specification_says() -> None:
    """Every subset of the six witnesses is enough exactly when it has two of X and one of Y."""
    policy = parse(EXAMPLE)

    for count in range(7):
        for chosen in combinations([*X, *Y], count):
            wanted = sum(key in X for key in chosen) >= 2 and any(key in Y for key in chosen)
            assert enough(policy, *chosen) is wanted


def test_missing_witnesses_are_named() -> None:
    """The refusal names each group that lacks somebody, how many it has, and who is missing."""
    with pytest.raises(CheckpointInvalid) as caught:
        parse(EXAMPLE).check(lines_of(X[0], Y[0]))

    assert "X-and-Y has 1 of 2 (without X-witnesses has 1 of 2 (without X2, X3))" in caught.value.what


def test_quorum_of_one_witness() -> None:
    """A quorum may be a single witness, and nobody else counts."""
    assert enough(parse(ONE), X[0])
    assert not enough(parse(ONE), X[1])
    assert not enough(parse(ONE))


def test_quorum_none_asks_for_nobody() -> None:
    """The quorum ``none`` needs neither witnesses nor their definition."""
    assert enough(parse("quorum none"))
    assert enough(parse(f"witness w {X[0].vkey}\nquorum none\n"))


def test_repeated_cosignature_counts_once() -> None:
    """Two lines of one witness are one witness."""
    policy = parse(f"witness a {X[0].vkey}\nwitness b {X[1].vkey}\ngroup g 2 a b\nquorum g\n")

    assert not enough(policy, X[0], X[0])


def test_ml_dsa_witness_is_a_witness() -> None:
    """A witness may have an ML-DSA-44 key, as may a log."""
    policy = parse(f"log {ML_DSA.vkey}\nwitness m {ML_DSA.vkey} https://w.example/\nquorum m\n")

    assert enough(policy, ML_DSA)
    assert policy.witnesses[0].url == "https://w.example/"


def test_urls_blanks_and_comments() -> None:
    """Words are parted by spaces and tabs, blank lines and comments are passed over, a URL is kept as it is."""
    policy = parse(f" \t# quorum x\n\n\t log\t{LOG.vkey}  https://log.example/ \t\n#\nquorum \t none \n   ")

    assert policy.logs[0].url == "https://log.example/"
    assert len(policy.log_verifiers("log.example")) == 1
    assert policy.log_verifiers("other.example") == ()


def test_names_are_octets() -> None:
    """K and the Kelvin sign are two names, as are two different invalid sequences of UTF-8."""
    policy = parse(
        b"witness K %b\nwitness \xe2\x84\xaa %b\nwitness \xff %b\nwitness \xfe %b\ngroup \xe4\xb8\xad all K \xff\n"
        b"quorum \xe4\xb8\xad\n" % tuple(str(key.vkey).encode() for key in (*X, Y[0]))
    )

    assert len({witness.name for witness in policy.witnesses}) == 4
    assert enough(policy, X[0], X[2])
    with pytest.raises(CheckpointInvalid, match="中 has 1 of 2"):
        policy.check(lines_of(X[0]))


def test_as_many_as_the_limits_say() -> None:
    """As many logs, witnesses and groups as the limits say are read, which is 32 of each and more."""
    logs = [f"log {Key(f'log{number}').vkey}" for number in range(MAX_LOGS)]
    witnesses = [f"witness w{number} {witness_key(f'w{number}').vkey}" for number in range(MAX_WITNESSES)]
    groups = [f"group g{number} 1 {f'g{number - 1}' if number else 'w0'}" for number in range(MAX_GROUPS)]
    text = "\n".join([*logs, *witnesses, *groups, f"quorum g{MAX_GROUPS - 1}", ""])

    assert min(MAX_LOGS, MAX_WITNESSES, MAX_GROUPS) >= 32
    assert enough(parse(text), witness_key("w0"))
    for extra in (f"log {LOG.vkey}", f"witness x {X[0].vkey}", "group h 1 w1"):
        with pytest.raises(DocumentInvalid, match="more than"):
            parse(f"{text}{extra}\n")


A, B = (f"witness {name} {key.vkey}\n" for name, key in (("a", X[0]), ("b", X[1])))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        A,
        "quorum\n",
        "quorum a\n",
        "quorum none none\n",
        "quorum none\nquorum none\n",
        "Quorum none\n",
        "quorum none # comment\n",
        "quorum\u00a0none\n",
        "quorum none\r\n",
        "quorum none\0\n",
        "quorum none\x7f\n",
        "quorum none\x0c\n",
        "quorum a\n" + A,
        "log\nquorum none\n",
        "log vkey\nquorum none\n",
        f"log {LOG.vkey} url url\nquorum none\n",
        f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none\n",
        "witness a\nquorum none\n",
        f"witness {X[0].vkey}\nquorum none\n",
        f"witness a {LOG.vkey}\nquorum a\n",
        f"log {X[0].vkey}\nquorum none\n",
        f"witness none {X[0].vkey}\nquorum none\n",
        f"{A}witness b {X[0].vkey}\nquorum a\n",
        f"{A}witness a {X[1].vkey}\nquorum a\n",
        f"{A}group a any a\nquorum a\n",
        f"{A}group g any\nquorum a\n",
        f"{A}group g 0 a\nquorum g\n",
        f"{A}group g 2 a\nquorum g\n",
        f"{A}group g 01 a\nquorum g\n",
        f"{A}group g +1 a\nquorum g\n",
        f"{A}group g -1 a\nquorum g\n",
        f"{A}group g １ a\nquorum g\n",
        f"{A}group g some a\nquorum g\n",
        f"{A}group g all a a\nquorum g\n",
        f"{A}group g all a none\nquorum g\n",
        f"{A}group g all g\nquorum g\n",
        f"{A}group g all a b\n{B}quorum g\n",
        f"{A}{B}group g all a\ngroup h all a b\nquorum h\n",
        f"{A}group none all a\nquorum none\n",
        f"{A}group g all a\ngroup g all g\nquorum g\n",
        "# " + "x" * (4 * 2**20) + "\nquorum none\n",
    ],
)
def test_malformed_policies_are_refused(text: str) -> None:
    """Whatever differs from the specification in one point is refused."""
    with pytest.raises(DocumentInvalid):
        parse(text)


def test_two_names_of_one_key_are_one_key() -> None:
    """A public key under another name and type is a duplicate, too."""
    renamed = witness_key("x1.example").vkey
    other = type(renamed)("other.example", SignatureType.COSIGNATURE_V1, renamed.public_key)
    log = type(renamed)("other.example", SignatureType.ED25519, LOG.vkey.public_key)

    with pytest.raises(DocumentInvalid, match=r"Line 2: .*listed twice"):
        parse(f"witness a {renamed}\nwitness b {other}\nquorum a\n")
    with pytest.raises(DocumentInvalid, match="listed twice"):
        parse(f"log {LOG.vkey}\nlog {log}\nquorum none\n")


def test_the_line_is_named() -> None:
    """A refusal says which line it is about."""
    with pytest.raises(DocumentInvalid, match=r"^Line 3: .*vkey|^Line 3: The text is not a verifier key"):
        parse("# first\n\nlog x\nquorum none\n")
