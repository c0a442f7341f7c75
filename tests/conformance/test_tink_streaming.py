"""Tink itself (the PyPI package) opens what we seal, and we open what Tink seals."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import tink
from tink import secret_key_access, streaming_aead
from tink.streaming_aead import StreamingAead, streaming_aead_key_templates

from databund.crypto.blobs import seal_files
from databund.crypto.content_keys import ContentKey
from databund.crypto.ranges import read_range
from databund.crypto.sealing import open_sealed, seal

MIB = 1 << 20
FIRST, LATER = MIB - 40 - 16, MIB - 16
SIZES = [
    0,
    1,
    FIRST - 1,
    FIRST,
    FIRST + 1,
    FIRST + LATER - 1,
    FIRST + LATER,
    FIRST + LATER + 1,
    5 * MIB - 1,
    5 * MIB + 1,
]
Bytes = Callable[[int], bytes]


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    streaming_aead.register()


@pytest.fixture(scope="module")
def content() -> Bytes:
    """Bytes that differ from place to place."""
    pattern = bytes(range(251))
    return lambda size: (pattern * (size // 251 + 1))[:size]


class Kept(io.BytesIO):
    """A sink whose bytes outlive the close by which Tink ends a stream."""

    def close(self) -> None:
        """Stay open."""


def tink_of(key: ContentKey) -> StreamingAead:
    """Tink's own primitive for the keyset that we write."""
    handle = tink.json_proto_keyset_format.parse(key.to_keyset().decode(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


def tink_opens(key: ContentKey, sealed: bytes) -> bytes:
    """What Tink decrypts."""
    with tink_of(key).new_decrypting_stream(io.BytesIO(sealed), b"") as stream:
        return stream.read()


@pytest.mark.parametrize("size", SIZES)
def test_tink_opens_what_we_seal(content: Bytes, size: int) -> None:
    """A stream of any size around the segment borders opens in Tink with our keyset."""
    key, sealed = ContentKey.generate(), io.BytesIO()
    seal(io.BytesIO(content(size)), sealed, key)
    assert tink_opens(key, sealed.getvalue()) == content(size)


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_tink_seals(content: Bytes, size: int) -> None:
    """A stream that Tink sealed opens here, whole and by range."""
    key, sealed, opened = ContentKey.generate(), Kept(), io.BytesIO()
    with tink_of(key).new_encrypting_stream(sealed, b"") as stream:
        stream.write(content(size))
    open_sealed(io.BytesIO(sealed.getvalue()), opened, key, length=len(sealed.getvalue()))
    assert opened.getvalue() == content(size)
    part = read_range(sealed, key, start=size // 2, length=MIB, sealed_length=len(sealed.getvalue()))
    assert part == content(size)[size // 2 : size // 2 + MIB]


def test_we_read_the_keyset_tink_writes() -> None:
    """A keyset of the template AES256_GCM_HKDF_1MB that Tink generated gives the key inside."""
    handle = tink.new_keyset_handle(streaming_aead_key_templates.AES256_GCM_HKDF_1MB)
    document = tink.json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
    key, sealed = ContentKey.from_keyset(document.encode()), io.BytesIO()
    seal(io.BytesIO(b"data"), sealed, key)
    with handle.primitive(StreamingAead).new_decrypting_stream(io.BytesIO(sealed.getvalue()), b"") as stream:
        assert stream.read() == b"data"


def test_tink_opens_each_slice_of_a_blob(tmp_path: Path, content: Bytes) -> None:
    """The slice that the manifest names for a file opens in Tink without the rest of the blob."""
    files = {"a.csv": 1, "b/c.bin": FIRST + 1, "b/d.bin": 3 * MIB}
    for number, size in enumerate(files.values()):
        (tmp_path / str(number)).write_bytes(content(size))
    key, blob = ContentKey.generate(), io.BytesIO()
    manifest = seal_files([(path, tmp_path / str(number)) for number, path in enumerate(files)], blob, key)
    slices = {each.path: blob.getvalue()[each.offset : each.end] for each in manifest.files}
    assert {path: tink_opens(key, part) == content(files[path]) for path, part in slices.items()} == dict.fromkeys(
        files, True
    )
