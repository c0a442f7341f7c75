# SPDX-License-Identifier: Apache-2.0
"""Check the evidence of one trade on a databund exchange, without databund.

    python verify.py EVIDENCE.zip --key VKEY [--witness VKEY]... [--quorum N]

Needs Python 3.9 or newer and the package "cryptography"; asks no network. Exits with 0 when everything holds, else
with 1. Read it from top to bottom: each part checks one kind of evidence, and `check` at the end puts them together.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import struct
import sys
import zlib
from datetime import datetime, timezone
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key


class Wrong(Exception):
    """The evidence does not hold; the text says why."""


# What Python raises when a part has another form than the code expects, or a signature does not fit.
MALFORMED = (ArithmeticError, AttributeError, InvalidSignature, LookupError, RuntimeError, TypeError, ValueError)
MALFORMED += (StopIteration, UnsupportedAlgorithm, struct.error)


def need(condition, why):
    """Go on only if the condition holds."""
    if not condition:
        raise Wrong(why)


def sha256(data):
    """SHA-256, as bytes."""
    return hashlib.sha256(data).digest()


def unbase64(text):
    """The bytes of canonical base64."""
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 is not canonical")
    return raw


def canonical(value):
    """The RFC 8785 bytes of a JSON value without fractions and with ASCII names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def document(data):
    """A JSON document in its canonical form, in which no name stands twice."""
    value = json.loads(data.decode())
    need(canonical(value) == data, "a document is not in its one form")
    return value


def unhex(text):
    """The bytes of 0x and hexadecimal digits."""
    need(text[:2] == "0x", "a value does not begin with 0x")
    return bytes.fromhex(text[2:])


# ZIP -----------------------------------------------------------------------------------------------------------------
def read_zip(data):
    """The members by name. The whole file is written again from them: no bit may differ."""
    members, at = {}, 0
    while data[at : at + 4] == b"PK\x03\x04" and len(members) < 4096:
        checksum, _, size, name_size = struct.unpack_from("<3LH", data, at + 14)
        start = at + 30 + name_size
        name, content = data[at + 30 : start].decode("ascii"), data[start : start + size]
        need(zlib.crc32(content) == checksum, f"{name} does not have its checksum")
        members[name], at = content, start + size
    body, index, offset = [], b"", 0
    for name, content in sorted(members.items()):
        facts = (20, 0, 0, 0, 0x21, zlib.crc32(content), len(content), len(content), len(name), 0)
        index += struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *facts, 0, 0, 0, 0, offset) + name.encode()
        body += [struct.pack("<4s5H3L2H", b"PK\3\4", *facts), name.encode(), content]
        offset += 30 + len(name) + len(content)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(members), len(members), len(index), offset, 0)
    need(b"".join(body) + index + end == data, "the file is not bit for bit the archive of its members")
    return members


# KECCAK --------------------------------------------------------------------------------------------------------------


def keccak256(data):
    """Keccak-256 with the original padding, as Ethereum uses it."""
    lanes = [[0] * 5 for _ in range(5)]
    padded = data + b"\1" + b"\0" * (135 - len(data) % 136)
    padded = padded[:-1] + bytes([padded[-1] | 0x80])
    for block in range(0, len(padded), 136):
        for i, lane in enumerate(struct.unpack_from("<17Q", padded, block)):
            lanes[i % 5][i // 5] ^= lane
        keccak_f(lanes)
    return b"".join(lanes[i][0].to_bytes(8, "little") for i in range(4))


def keccak_f(a):
    """The permutation of 1600 bits (FIPS 202 section 3.3), in place."""

    def turn(lane, by):
        return (lane << by | lane >> (64 - by)) & 0xFFFF_FFFF_FFFF_FFFF

    lfsr = 1
    for _ in range(24):
        columns = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        for x in range(5):
            parity = columns[x - 1] ^ turn(columns[(x + 1) % 5], 1)
            for y in range(5):
                a[x][y] ^= parity
        x, y, lane = 1, 0, a[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            lane, a[x][y] = a[x][y], turn(lane, (step + 1) * (step + 2) // 2 % 64)
        for y in range(5):
            row = [a[x][y] for x in range(5)]
            for x in range(5):
                a[x][y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5])
        for bit in range(7):
            lfsr = (lfsr << 1) ^ (lfsr >> 7) * 0x171
            a[0][0] ^= (lfsr >> 1 & 1) << ((1 << bit) - 1)


def address(raw):
    """An account as EIP-55 writes it."""
    need(len(raw) == 20, "an address does not have 20 bytes")
    mask = keccak256(raw.hex().encode()).hex()
    return "0x" + "".join(d.upper() if int(m, 16) > 7 else d for d, m in zip(raw.hex(), mask))


# CHAIN ---------------------------------------------------------------------------------------------------------------

SOLD = keccak256(b"LicenseSold(bytes32,address,address,bytes32,uint64,uint256,address,uint64)")
TRANSFER = keccak256(b"Transfer(address,address,uint256)")


def rlp(data, at=0):
    """The RLP item (bytes, or a list of items) at a place, and where it ends."""
    need(at < len(data), "RLP ends early")
    head = data[at]
    if head < 0x80:
        return data[at : at + 1], at + 1
    base = 0x80 if head < 0xC0 else 0xC0
    size, start = head - base, at + 1
    if size > 55:
        start += size - 55
        size = int.from_bytes(data[at + 1 : start], "big")
        need(size > 55 and data[at + 1] > 0, "RLP has a length with a shorter form")
    end = start + size
    need(end <= len(data), "RLP ends early")
    if base == 0x80:
        need(size != 1 or data[start] >= 0x80, "RLP has a byte with a shorter form")
        return data[start:end], end
    items = []
    while start < end:
        item, start = rlp(data, start)
        items.append(item)
    need(start == end, "an RLP list ends early")
    return items, end


def read_rlp(data):
    """The one RLP item that the bytes are."""
    item, end = rlp(data)
    need(end == len(data), "something follows an RLP item")
    return item


def trie_value(root, index, nodes):
    """What the trie with this root holds at an index (Merkle Patricia trie); every node must be the one named."""
    number = index.to_bytes((index.bit_length() + 7) // 8, "big")
    key = number if len(number) == 1 and number[0] < 0x80 else bytes([0x80 + len(number)]) + number
    path, node, nodes = key.hex(), root, list(nodes)
    while True:
        if isinstance(node, bytes):
            need(nodes and keccak256(nodes[0]) == node, "a node of the receipt's trie is missing or another one")
            node = read_rlp(nodes.pop(0))
        if len(node) == 17:
            if not path:
                value = node[16]
                break
            node, path = node[int(path[0], 16)], path[1:]
            continue
        fits = len(node) == 2 and node[0] and node[0][0] < 0x40 and (node[0][0] & 0x10 or not node[0][0] & 0x0F)
        need(fits, "a trie node has another form")
        part, is_leaf = node[0].hex()[1 if node[0][0] & 0x10 else 2 :], node[0][0] >= 0x20
        need(path.startswith(part), "the block has no such receipt")
        path, node = path[len(part) :], node[1]
        if is_leaf:
            need(not path, "the block has no such receipt")
            value = node
            break
    need(value and isinstance(value, bytes) and not nodes, "the receipt's proof leads to nothing, or has too much")
    return value


def chain_says(document, order, exchange, currency):
    """The sale and the payments that a receipt records, with the block that holds it."""
    header = unhex(document["header"])
    fields = read_rlp(header)
    value = trie_value(fields[5], document["index"], [unhex(node) for node in document["nodes"]])
    need(value[0] < 0x80 or value[0] >= 0xC0, "the receipt has another form")
    status, _, _, logs = read_rlp(value[1:] if value[0] < 0x80 else value)
    need(status == b"\1", "the chain transaction failed")
    received, sales, payer, money = {}, [], unhex(exchange), unhex(currency)
    need((address(payer), address(money)) == (exchange, currency), "an address is not written as EIP-55 asks")
    for emitter, topics, data in logs:  # what others moved meanwhile, or the exchange after the sale, is not of it
        paid = emitter == money and topics[:2] == [TRANSFER, bytes(12) + payer] and not sales
        if paid and (len(topics), len(data)) == (3, 32):
            account = address(topics[2][12:])
            received[account] = received.get(account, 0) + int.from_bytes(data, "big")
        if emitter == payer and topics[:1] == [SOLD]:
            need((len(topics), len(data)) == (4, 160), "the sale is recorded in another form")
            sales.append((topics, [data[i : i + 32] for i in range(0, 160, 32)]))
    need(len(sales) == 1 and sales[0][1][0] == order, "the receipt does not record the sale of this order")
    (topics, words), expiry = sales[0], int.from_bytes(sales[0][1][4], "big")
    need(address(words[3][12:]) == currency, "the sale was paid in another currency")
    received.pop(exchange, None)  # it only passes money on
    return {
        "block": int.from_bytes(fields[8], "big"),
        "block_hash": "0x" + keccak256(header).hex(),
        "offer": "0x" + topics[1].hex(),
        "buyer": address(topics[2][12:]),
        "units": int.from_bytes(words[1], "big"),
        "price": str(int.from_bytes(words[2], "big")),
        "expiry": None if expiry >> 53 else expiry,  # a term that no entry can count has no end
        "payments": [{"account": account, "amount": str(amount)} for account, amount in received.items()],
    }


# LOG -----------------------------------------------------------------------------------------------------------------
def read_vkey(vkey, kind):
    """The name, key ID and Ed25519 key of a verifier key, <name>+<key ID>+<base64 of type and key>, and the latter."""
    name, identifier, material = vkey.strip().split("+", 2)
    raw = unbase64(material)
    need(raw[:1] == bytes([kind]) and len(raw) == 33, f"{name}: not a verifier key of type {kind} (Ed25519)")
    need(sha256(name.encode() + b"\n" + raw)[:4].hex() == identifier, f"{name}: the key ID is not the key's")
    return name, bytes.fromhex(identifier), Ed25519PublicKey.from_public_bytes(raw[1:]), raw


def open_checkpoint(note, log, witnesses):
    """Size and root that the log signed, and the times at which known witnesses saw them."""
    text, _, lines = note.decode().rpartition("\n\n")
    text, signed, seen = text + "\n", False, {}
    origin, size, root = text.split("\n")[:3]
    need(origin == log[0] and size == str(int(size)), "the checkpoint is of another log")
    for line in lines.rstrip("\n").split("\n"):
        dash, name, material = line.split(" ")
        raw = unbase64(material)
        need(dash == "\u2014", "a signature line has another form")
        if (name, raw[:4]) == log[:2]:
            log[2].verify(raw[4:], text.encode())
            signed = True
        for witness in witnesses:
            if (name, raw[:4]) == witness[:2]:
                at = int.from_bytes(raw[4:12], "big")
                witness[2].verify(raw[12:], f"cosignature/v1\ntime {at}\n{text}".encode())
                seen[witness[3]] = at  # one key counts once, under whatever names
    need(signed, "the log did not sign the checkpoint")
    return int(size), unbase64(root), seen


def check_inclusion(entry, index, size, root, hashes):
    """The tree of this size and root has the entry at the index (RFC 9162 section 2.1.3.2)."""
    node, last, found = index, size - 1, sha256(b"\0" + entry)
    need(0 <= index < size and all(len(value) == 32 for value in hashes), "an inclusion proof has another form")
    for value in hashes:
        need(last > 0, f"the proof of entry {index} has too many hashes")
        if node & 1 or node == last:
            found = sha256(b"\1" + value + found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = sha256(b"\1" + found + value)
        node, last = node >> 1, last >> 1
    need(last == 0 and found == root, f"the proof of entry {index} does not lead to the signed root")


def check_proof(proof, entry, index, note, opened):
    """A tlog-proof, whose checkpoint was opened before; returns its hashes."""
    lines = proof[: -len(note)].decode("ascii").split("\n")
    framed = [*lines[:2], *lines[-2:]] == ["c2sp.org/tlog-proof@v1", f"index {index}", "", ""]
    need(framed and proof.endswith(note), "a proof has another form")
    hashes = [unbase64(line) for line in lines[2:-2]]
    check_inclusion(entry, index, opened[0], opened[1], hashes)
    return hashes


# COSE ----------------------------------------------------------------------------------------------------------------
def cbor(item):
    """The deterministic CBOR (RFC 8949 section 4.2.1) of an int, bytes, str, list, dict or None."""

    def head(major, number):
        if number < 24:
            return bytes([major << 5 | number])
        width = next(width for width in (0, 1, 2, 3) if number < 1 << (8 << width))
        return bytes([major << 5 | 24 + width]) + number.to_bytes(1 << width, "big")

    if item is None:
        return b"\xf6"
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, (bytes, str)):
        raw = item.encode() if isinstance(item, str) else item
        return head(3 if isinstance(item, str) else 2, len(raw)) + raw
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(cbor(each) for each in item)
    pairs = sorted((cbor(name), cbor(value)) for name, value in item.items())
    return head(5, len(pairs)) + b"".join(name + value for name, value in pairs)


def check_receipt(receipt, log, order, place, root, hashes):
    """The COSE receipt of an inclusion proof that was checked: it is written again around its own signature."""
    protected = cbor({1: -8, 4: log[1], 15: {1: log[0], 2: f"urn:databund:order:{order}"}, 395: 1})
    proof = cbor([place[1], place[0], hashes])
    signature = receipt[-64:]
    need(receipt == b"\xd2" + cbor([protected, {396: {-1: [proof]}}, None, signature]), "a COSE receipt is another one")
    log[2].verify(signature, cbor(["Signature1", protected, b"", root]))


# STATEMENT -----------------------------------------------------------------------------------------------------------
def check_statements(members, manifest, log, predicate):
    """The statement over all other members, written again, must be what both keys signed."""
    files = {name: data for name, data in members.items() if not name.startswith("statement.")}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": n, "digest": {"sha256": sha256(data).hex()}} for n, data in sorted(files.items())],
        "predicateType": "https://w3id.org/databund/evidence/v1",
        "predicate": predicate,
    }
    payload, kind = canonical(statement), "application/vnd.in-toto+json"
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload

    def envelope(key_id, signature):
        signed = {"keyid": key_id, "sig": base64.b64encode(signature).decode()}
        return {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": [signed]}

    def signature_in(data):
        return unbase64(data.partition(b'"sig":"')[2].partition(b'"')[0].decode())

    ours, sigstore, hint = members["statement.dsse.json"], members["statement.sigstore.json"], f"{log[0]}/statement"
    signature = signature_in(ours)
    need(ours == canonical(envelope(f"{log[0]}+{log[1].hex()}", signature)), "a member is not the one that was signed")
    log[2].verify(signature, message)
    signature = signature_in(sigstore)
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": envelope(hint, signature),
    }
    need(sigstore == canonical(bundle), "the Sigstore bundle is not of the same statement")
    key = load_der_public_key(unhex(manifest["statement_key"]))
    need(isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1), "the statement key is no P-256")
    key.verify(signature, message, ECDSA(SHA256()))


# TRADE ---------------------------------------------------------------------------------------------------------------

STATES = (None, "placed", "licensed", "delivered", "settled", "certified")
MOVES = {(before, f"order.{after}"): after for before, after in zip(STATES, STATES[1:])}  # noqa: RUF007
MOVES.update({(None, "license.observed"): "licensed", ("placed", "order.refused"): "refused"})
MOVES["refused", "order.licensed"] = "licensed"  # somebody else brought the payment to the chain
MOVES.update({(state, "order.delivered"): state for state in STATES[3:]})  # further uses


def follow(events, order):
    """The state that the order's entries lead to."""
    state = None
    for event in events.values():
        if event["kind"] == "key.destroyed":
            continue
        need(event["about"].get("order") == order, f"an entry {event['kind']} is about something else")
        if event["kind"] != "decision.made" or state is None:
            need((state, event["kind"]) in MOVES, f"the order is {state} when the log has {event['kind']}")
            state = MOVES[state, event["kind"]]
    need(state, "no entry says that the order was placed")
    return state


def predicate_of(manifest, events, state, offer, offer_id):
    """What the statement has to say of the trade."""
    first = next(e for e in events.values() if e["kind"] in ("order.placed", "license.observed"))
    decided = [(index, event) for index, event in events.items() if event["kind"] == "decision.made"]
    return {
        "order": manifest["order"],
        "state": state,
        "offer": offer_id,
        "dataset": offer["dataset"],
        "provider": offer["provider"],
        "buyer": first["about"].get("buyer", first["by"]),
        "steps": [{"entry": index, "kind": event["kind"], "at": event["at"]} for index, event in events.items()],
        "decisions": [{"entry": index, "permitted": event["about"]["permitted"]} for index, event in decided],
    }


def offer_hash(offer):
    """The id of an offer: its EIP-712 struct hash, which is also the token id of the licenses sold under it."""
    split = b"Split(address account,uint16 basisPoints)"
    kind = (
        b"Offer(address provider,bytes32 dataset,bytes32 contentRoot,bytes32 termsHash,address currency,"
        b"uint256 unitPrice,uint64 duration,uint64 uses,uint64 supply,uint256 requires,uint64 escrow,"
        b"bool transferable,Split[] splits,uint64 validUntil,bytes32 salt)" + split
    )

    def word(value):
        return (int(value).to_bytes(32, "big")) if not str(value).startswith("0x") else unhex(value).rjust(32, b"\0")

    shares = [keccak256(split) + word(each["account"]) + word(each["basis_points"]) for each in offer["splits"]]
    names = "provider dataset content_root terms_hash currency unit_price duration_s uses supply requires escrow_s"
    words = [word(offer[name]) for name in (*names.split(), "transferable")]
    words.append(keccak256(b"".join(map(keccak256, shares))))
    words += [word(offer["valid_until"]), word(offer["salt"])]
    return "0x" + keccak256(keccak256(kind) + b"".join(words)).hex()


def check_documents(members, manifest, events, signed, offer_id):
    """Offer, policy and dataset are those of the entries; returns what the chain and the attachments say."""
    offer, domain = signed["offer"], signed["domain"]
    only = {event["kind"]: event["about"] for event in events.values()}
    policy, dataset = members["policy.json"], document(members["dataset.json"])
    target = f"urn:databund:dataset:{offer['dataset']}:{sha256(members['dataset.json']).hex()}"
    for name, value in (("offer", offer_id), ("currency", offer["currency"]), ("content_root", offer["content_root"])):
        need(all(e["about"].get(name, value) == value for e in events.values()), f"an entry is about another {name}")
    need(domain == {"chain_id": manifest["chain_id"], "exchange": manifest["exchange"]}, "the offer is for elsewhere")
    need(sha256(policy) == unhex(offer["terms_hash"]), "the policy is not the one of the offer")
    need(document(policy)["target"] == target, "the policy is for another dataset")
    name = keccak256(bytes(12) + unhex(dataset["provider"]) + keccak256(dataset["name"].encode()))
    sold = ("0x" + name.hex(), dataset["provider"], dataset["manifest"]["root"])
    need(sold == (offer["dataset"], offer["provider"], offer["content_root"]), "the offer is for another dataset")
    settled, certified = only.get("order.settled"), only.get("order.certified")
    licensed = only.get("order.licensed") or only.get("license.observed")
    need(("chain.json" in members) == bool(licensed), "the chain's receipt and its entry do not come together")
    for name in ("certificate.json", "agreement.json"):
        need((name in members) == bool(certified), f"{name} and the entry that certifies do not come together")
    sale = None
    if licensed:
        chain = document(members["chain.json"])
        need(len(chain) == 3, "the chain's receipt has other members")
        sale = chain_says(chain, unhex(manifest["order"]), manifest["exchange"], offer["currency"])
        ordered = only.get("order.placed") or licensed
        same = [sale[name] == ordered[name] for name in ("offer", "units", "price")]
        need(
            all(same) and all(sale[name] == licensed[name] for name in ("block", "expiry")),
            "the chain recorded another sale than the entries tell",
        )
    if settled:
        same = settled["chain_transaction"] == licensed["chain_transaction"]
        need(same and settled["payments"] == sale["payments"], "the chain shows other payments than the entries")
    if certified:
        certificate, agreement = members["certificate.json"], members["agreement.json"]
        terms = {"currency": offer["currency"], "agreement": "0x" + sha256(agreement).hex()}
        expected = {name: manifest[name] for name in ("order", "chain_id", "exchange")}
        expected.update(sale, **terms, chain_transaction=licensed["chain_transaction"])
        need(certificate == canonical(expected), "the certificate says something else than chain and offer")
        need(sha256(certificate).hex() == certified["certificate"], "the certificate is not the one of the entry")
        need(sha256(agreement).hex() == certified["agreement"], "the agreement is not the one of the entry")
    return sale, check_attachments(members, events)


def check_buyer(manifest, events, sale, buyer):
    """It is the buyer to whom the chain sold, about whom was decided, and to whom was delivered what that permits."""
    need(sale is None or sale["buyer"] == buyer, "the chain names another buyer than the entries")
    party, permitted = f"did:pkh:eip155:{manifest['chain_id']}:{buyer}", False
    for event in events.values():
        if event["kind"] == "decision.made":
            about, decision = event["about"], event["about"]["decision"]
            need(decision["request"]["assignee"] == party, "a decision is about somebody else than the buyer")
            need(about["permitted"] is decision["permitted"], "a decision was logged as the opposite of itself")
            permitted = permitted or about["permitted"]
        if event["kind"] == "order.delivered":
            need(permitted and event["by"] == buyer, "something was delivered to somebody else, or without permission")


def check_attachments(members, events):
    """What became of each attachment that a decision names: it may be here, erased, or withheld."""
    found, erased = {}, {}
    for event in events.values():
        name = event["about"].get("attachment")
        if event["kind"] == "key.destroyed":
            need(name in found, "an erasure is of something that no decision named before")
            erased.setdefault(name, f"erased on {day(event['at'])}")
        elif name is not None:
            member = f"attachments/{name[2:]}.json"
            found[name] = "withheld"
            if member in members:
                told = document(members[member])
                salted = b"\2" + unhex(told["salt"]) + unhex(told["content"])
                same = "0x" + sha256(salted).hex() == name == told["commitment"] and len(told["salt"]) == 66
                need(same and len(told) == 3, f"the attachment {name} was changed")
                found[name] = "disclosed"
    return {**found, **erased}


def day(seconds):
    """A time as people read it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def check(data, key=None, witnesses=(), quorum=0):
    """Check a bundle; returns what is proven, line by line. Raises Wrong, or what a parser or a signature raises."""
    need(len(data) <= 1 << 26, "the file is larger than evidence can be")
    members = read_zip(data)
    manifest = document(members["bundle.json"])
    known = "chain_id entries exchange format log_key order origin statement_key"
    need(sorted(manifest) == known.split(), "bundle.json has other members")
    need(manifest["format"] == "databund evidence v1", "this verifier knows databund evidence v1 only")
    need(key is None or key.strip() == manifest["log_key"], "the bundle is from a log with another key")
    log = read_vkey(manifest["log_key"], 1)
    need(log[0] == manifest["origin"], "the bundle names another log than its key")
    witnesses = [read_vkey(vkey, 4) for vkey in witnesses]
    needed = "README.txt bundle.json dataset.json offer.json policy.json statement.dsse.json statement.sigstore.json"
    expected = {*needed.split(), "verify.py"} | {"chain.json", "certificate.json", "agreement.json"} & set(members)
    events, opened, note = {}, None, b""
    need(manifest["entries"], "the bundle has no entries")
    for place in manifest["entries"]:
        index = place["index"]
        need(type(index) is int and index not in events and len(place) == 2, "bundle.json names an entry strangely")
        entry, proof, receipt = names = [f"entries/{index}{end}" for end in (".json", ".tlog-proof", ".receipt.cbor")]
        expected.update(names)
        if opened is None:
            note = members[proof].partition(b"\n\n")[2]
            opened = open_checkpoint(note, log, witnesses)
        hashes = check_proof(members[proof], members[entry], index, note, opened)
        check_receipt(members[receipt], log, manifest["order"], (index, opened[0]), opened[1], hashes)
        event = events[index] = document(members[entry])
        need(event["kind"] == place["kind"], f"entry {index} is not what the bundle calls it")
        fits = sorted(event) == ["about", "at", "by", "kind"] and type(event["at"]) is int
        need(fits and event["at"] >= 0 and len(members[entry]) <= 65535, f"entry {index} has another form")
    need(list(events) == sorted(events), "the entries are not in the order of the log")
    need(len(opened[2]) >= quorum, f"{len(opened[2])} of the named witnesses saw the checkpoint, not {quorum}")
    signed = document(members["offer.json"])
    need((len(signed), len(signed["offer"])) == (3, 15), "the offer has other members")
    offer_id, state = offer_hash(signed["offer"]), follow(events, manifest["order"])
    predicate = predicate_of(manifest, events, state, signed["offer"], offer_id)
    check_statements(members, manifest, log, predicate)
    sale, attachments = check_documents(members, manifest, events, signed, offer_id)
    check_buyer(manifest, events, sale, predicate["buyer"])
    expected |= {f"attachments/{name[2:]}.json" for name in attachments} & set(members)
    need(set(members) == expected, f"{sorted(set(members) ^ expected)[:1]} is missing, or belongs to nothing")
    yield f"The log {log[0]}, of {opened[0]} entries, holds {len(events)} about the order {manifest['order']}:"
    for index, event in events.items():
        yield f"  entry {index}, {day(event['at'])}: {event['kind']}, by {event['by']}"
    yield f"Seen by {len(opened[2])} of {len(witnesses)} named witnesses."
    yield f"Offer {offer_id} with this policy and dataset; the order is {state}."
    for name, fate in attachments.items():
        yield f"Attachment {name}: {fate}."
    if sale:
        yield f"On chain {manifest['chain_id']}, block {sale['block_hash']} records that the exchange at"
        yield f"  {manifest['exchange']} sold {sale['units']} unit(s) to {sale['buyer']}, and paid:"
        for payment in sale["payments"]:
            yield f"  {payment['account']}: {payment['amount']} base units of {signed['offer']['currency']}"


def plain(text):
    """What can be printed of a text: nobody's entry writes lines, colors or directions of its own on the screen."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def main():
    """The command line."""
    arguments = argparse.ArgumentParser(description="Check the evidence of one trade.")
    arguments.add_argument("file")
    arguments.add_argument("--key", help="the log's verifier key, from a place you trust")
    arguments.add_argument("--witness", action="append", default=[], help="the verifier key of a witness you trust")
    arguments.add_argument("--quorum", type=int, help="how many of them must have seen the log; all, if not given")
    given = arguments.parse_args()
    try:
        quorum = len(given.witness) if given.quorum is None else given.quorum
        lines = [plain(line) for line in check(Path(given.file).read_bytes(), given.key, given.witness, quorum)]
    except (OSError, Wrong) as error:
        sys.exit(f"NOT PROVEN: {plain(error)}.")
    except MALFORMED as error:
        sys.exit(f"NOT PROVEN: a part is malformed or wrongly signed ({type(error).__name__}).")
    print("PROVEN by this file:", *lines, sep="\n  ")
    print("NOT proven by this file:")
    if given.key is None:
        print("  - whose log it is: the key is the file's own word; give --key VKEY from a place you trust")
    if not given.witness:
        print("  - that everybody sees the same log: give --witness VKEY of those who watch it")
    print("  - that the block is on the chain: compare its hash with a node of the chain you trust")
    print("  - that the exchange is the one you mean: compare its address")
    print("  - that the log has no further entries about the order: verify a copy of the whole log")
    print("  - the provider's signature, and that the policy leads to decisions and agreement: databund audit verify")


if __name__ == "__main__":
    main()
