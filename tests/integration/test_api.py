"""The node over HTTP: problem details, idempotency keys, ranges, the log, sign-in, and the description of it all."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator

import pytest
from blake3 import blake3

from databund.core.ids import Address
from databund.crypto.identities import Identity
from tests.nodes import ABOUT, NodeInProcess, node_in_process, table, terms


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeInProcess]:
    """One node for all tests of this module."""
    with node_in_process(tmp_path_factory.mktemp("api")) as node:
        yield node


@pytest.fixture(scope="module")
def published(running: NodeInProcess) -> tuple[str, int]:
    """The content root and size of a published dataset."""
    view = running.client().publish(table(running.folder / "data"), ABOUT)
    return str(view.dataset.content_root), view.dataset.manifest.size


def test_an_unknown_path_is_a_problem_with_code_and_fix(running: NodeInProcess) -> None:
    """Every error is RFC 9457 problem details with our code and the next act."""
    answer = running.http.get("/nowhere")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() == {"type", "title", "status", "detail", "code", "fix"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/offers/0x12", None, 400, "identifier.invalid"),
        ("GET", f"/offers/0x{'0' * 64}", None, 404, "thing.not_found"),
        ("GET", f"/datasets/0x{'0' * 64}", None, 404, "thing.not_found"),
        ("GET", "/orders", None, 401, "sign_in.required"),
        ("POST", "/deliveries", {}, 401, "sign_in.required"),
        ("POST", "/orders", {"nonsense": 1}, 400, "document.invalid"),
        ("POST", "/sign-in/challenges", {"address": "0x1"}, 400, "document.invalid"),
        ("GET", "/datasets?limit=1000", None, 400, "document.invalid"),
        ("GET", f"/blobs/0x{'0' * 64}", None, 404, "thing.not_found"),
        ("GET", "/log/tile/9/x", None, 400, "identifier.invalid"),
        ("DELETE", "/datasets", None, 405, "http.405"),
    ],
)
def test_bad_requests_say_what_is_wrong(
    running: NodeInProcess, method: str, path: str, body: object, status: int, code: str
) -> None:
    """A request that cannot be used is refused with a stable code, and never as a defect of ours."""
    answer = running.http.request(method, path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_token_that_is_not_ours_signs_nobody_in(running: NodeInProcess) -> None:
    """An unknown bearer token is answered 401 and says how to sign in."""
    answer = running.http.get("/licenses", headers={"Authorization": "Bearer made-up"})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_sign_in_message_counts_once(running: NodeInProcess) -> None:
    """A signed message gives one token; sent again it gives none."""
    identity = Identity.generate()
    message = running.http.post("/sign-in/challenges", json={"address": str(identity.address)}).json()["message"]
    body = {
        "address": str(identity.address),
        "message": message,
        "signature": "0x" + identity.sign_message(message).hex(),
    }

    first, second = running.http.post("/sign-in/tokens", json=body), running.http.post("/sign-in/tokens", json=body)

    assert first.status_code == 201
    assert first.headers["cache-control"] == "no-store"
    assert second.status_code == 401


def test_somebody_elses_signature_signs_nobody_in(running: NodeInProcess) -> None:
    """The message has to be signed by the account it names."""
    identity = Identity.generate()
    message = running.http.post("/sign-in/challenges", json={"address": str(identity.address)}).json()["message"]
    signature = "0x" + Identity.generate().sign_message(message).hex()

    answer = running.http.post(
        "/sign-in/tokens", json={"address": str(identity.address), "message": message, "signature": signature}
    )

    assert answer.status_code == 422
    assert answer.json()["code"] == "signature.invalid"


def test_a_blob_is_sent_whole_and_by_range(running: NodeInProcess, published: tuple[str, int]) -> None:
    """The parts of a blob make the whole, whose BLAKE3 is its name."""
    root, size = published
    whole = running.http.get(f"/blobs/{root}")
    parts = [
        running.http.get(f"/blobs/{root}", headers={"Range": asked})
        for asked in (f"bytes=0-{size // 2 - 1}", f"bytes={size // 2}-")
    ]

    assert whole.status_code == 200
    assert "0x" + blake3(whole.content).hexdigest() == root
    assert [part.status_code for part in parts] == [206, 206]
    assert b"".join(part.content for part in parts) == whole.content
    assert parts[0].headers["content-range"] == f"bytes 0-{size // 2 - 1}/{size}"


@pytest.mark.parametrize(
    ("headers", "status", "length"),
    [
        ({"Range": "bytes=-5"}, 206, 5),
        ({"Range": "bytes=0-0"}, 206, 1),
        ({"Range": "bytes=99999999-"}, 416, 0),
        ({"Range": "bytes=-0"}, 416, 0),
        ({"Range": "bytes=5-2"}, 200, None),
        ({"Range": "lines=1-2"}, 200, None),
        ({"Range": "bytes=0-1,3-4"}, 200, None),
        ({"Range": "bytes=0-0", "If-Range": '"another"'}, 200, None),
        ({"If-None-Match": "*"}, 304, 0),
    ],
)
def test_ranges_follow_rfc_9110(
    running: NodeInProcess, published: tuple[str, int], headers: dict[str, str], status: int, length: int | None
) -> None:
    """Suffixes, single bytes, unsatisfiable and malformed ranges, and conditions are answered as RFC 9110 says."""
    root, size = published

    answer = running.http.get(f"/blobs/{root}", headers=headers)

    assert (answer.status_code, len(answer.content)) == (status, size if length is None else length)


def test_head_tells_the_size_and_sends_nothing(running: NodeInProcess, published: tuple[str, int]) -> None:
    """HEAD is GET without the body."""
    answer = running.http.head(f"/blobs/{published[0]}")

    assert int(answer.headers["content-length"]) == published[1]
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.content == b""


def test_an_upload_under_another_root_is_refused_whole(running: NodeInProcess) -> None:
    """Bytes that do not hash to the name they are sent under leave nothing behind."""
    client = running.client()
    client.orders()  # signs in
    headers = client._connection._authorization()

    answer = running.http.put(f"/blobs/0x{'1' * 64}", content=b"other bytes", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "content.mismatch")
    assert running.http.get(f"/blobs/0x{'1' * 64}").status_code == 404


def test_a_repeated_post_gets_the_first_answer_again(running: NodeInProcess) -> None:
    """An idempotency key makes the second POST a replay, marked as one."""
    operator = running.client(running.operator)
    operator.orders()
    headers = operator._connection._authorization() | {"Idempotency-Key": "deposit-1"}
    account = str(Identity.generate().address)
    body = {"account": account, "amount": "5", "reference": "0x" + "ab" * 32}

    first, second = (running.http.post("/accounts/credits", json=body, headers=headers) for _ in range(2))

    assert first.json() == second.json() == {"address": account, "balance": "5"}
    assert second.headers["idempotency-replayed"] == "true"


def test_an_idempotency_key_belongs_to_one_request(running: NodeInProcess) -> None:
    """The same key with another body is refused and changes nothing."""
    operator = running.client(running.operator)
    operator.orders()
    headers = operator._connection._authorization() | {"Idempotency-Key": "deposit-2"}
    account = Address(bytes(19) + b"\x02")
    body = {"account": str(account), "amount": "5", "reference": "0x" + "cd" * 32}
    running.http.post("/accounts/credits", json=body, headers=headers)

    answer = running.http.post("/accounts/credits", json=body | {"amount": "6"}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency.mismatch")
    assert running.node.ledger.balance(account) == 5


def test_only_the_operator_issues_credit(running: NodeInProcess) -> None:
    """A participant cannot credit itself."""
    client = running.client()
    client.orders()
    body = {"account": str(client.identity.address), "amount": "5", "reference": "0x" + "ef" * 32}

    answer = running.http.post("/accounts/credits", json=body, headers=client._connection._authorization())

    assert (answer.status_code, answer.json()["code"]) == (403, "owner.required")


def test_the_log_is_served_as_c2sp_tiles(running: NodeInProcess, published: tuple[str, int]) -> None:
    """The checkpoint's size and root follow from the entry bundle that is served beside it."""
    origin, size, root = running.http.get("/log/checkpoint").text.splitlines()[:3]
    bundle = running.http.get(f"/log/tile/entries/000.p/{size}")
    tile = running.http.get(f"/log/tile/0/000.p/{size}")

    entry = bundle.content[2 : 2 + int.from_bytes(bundle.content[:2])]
    assert origin == running.node.info.origin
    assert tile.content[:32] == hashlib.sha256(b"\0" + entry).digest()
    assert len(base64.b64decode(root)) == 32
    assert "immutable" in tile.headers["cache-control"]


def test_an_upload_needs_a_sign_in_and_a_dataset_its_provider(running: NodeInProcess) -> None:
    """Nobody registers a dataset in another's name."""
    mallory, provider = running.client(), running.client()
    view = provider.publish(table(running.folder / "more"), ABOUT)
    mallory.orders()
    body = {"dataset": json.loads(running.http.get(f"/datasets/{view.id}").text)["dataset"], "wrapped_key": "0x00"}

    answer = running.http.post("/datasets", json=body, headers=mallory._connection._authorization())

    assert (answer.status_code, answer.json()["code"]) == (403, "owner.required")


def test_a_body_that_is_too_large_is_refused(running: NodeInProcess) -> None:
    """Only an upload may be large; everything else is bounded, with and without an idempotency key."""
    body = b'{"address": "' + b"0" * (17 * 2**20) + b'"}'

    plain = running.http.post("/sign-in/challenges", content=body)
    keyed = running.http.post("/sign-in/challenges", content=body, headers={"Idempotency-Key": "large"})

    assert (plain.status_code, keyed.status_code) == (413, 400)


def test_the_node_describes_itself(running: NodeInProcess) -> None:
    """OpenAPI lists every route; identifiers and amounts are strings with a pattern."""
    document = running.http.get("/schema/openapi.json").json()

    assert {"/datasets", "/offers", "/orders", "/licenses", "/deliveries", "/blobs/{root}"} <= document["paths"].keys()
    purchase = document["components"]["schemas"]["Purchase"]["properties"]
    assert purchase["buyer"]["pattern"] == "^0x[0-9a-fA-F]{40}$"


def test_health_readiness_and_metrics_answer(running: NodeInProcess) -> None:
    """Operators' tools find what they look for."""
    assert running.http.get("/healthz").json() == {"status": "ok"}
    assert running.http.get("/readyz").json()["status"] == "ok"
    assert "databund_requests_total" in running.http.get("/metrics").text


def test_an_offer_shows_terms_and_signature(running: NodeInProcess) -> None:
    """What was listed is shown exactly, with the policy in words a machine reads."""
    provider = running.client()
    view = provider.publish(table(running.folder / "offered"), ABOUT)
    offer = provider.offer(view.dataset, terms(provider, purposes=("research",)))

    shown = running.http.get(f"/offers/{offer.id}").json()

    assert shown["policy"]["target"].endswith(view.descriptor)
    assert shown["signed"]["signature"].startswith("0x")
    assert shown["signed"]["offer"]["unit_price"] == "10000000"


def test_a_page_of_offers_can_be_asked_for_by_provider(running: NodeInProcess) -> None:
    """Filters narrow the list."""
    provider = running.client()
    view = provider.publish(table(running.folder / "listed"), ABOUT)
    offer = provider.offer(view.dataset, terms(provider))

    assert [found.id for found in provider.offers(provider=provider.identity.address)] == [offer.id]
    assert provider.offers(provider=Identity.generate().address) == []
