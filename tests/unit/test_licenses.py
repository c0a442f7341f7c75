"""Licenses: whether a record on the chain entitles its holder now."""

import pytest

from databund.core.ids import OfferId
from databund.core.licenses import License
from databund.errors import Denied, LicenseExpired, LicenseMissing, UsesExhausted
from databund.testing.samples import address, hash32


def license_of(units: int = 1, *, expiry: int | None = None, uses: int = 0) -> License:
    """A license."""
    return License(address(1), OfferId(hash32(1)), units, expiry, uses)


@pytest.mark.parametrize(
    ("license_", "spent"),
    [(license_of(), 10**9), (license_of(expiry=100), 0), (license_of(uses=2), 1), (license_of(expiry=100, uses=1), 0)],
)
def test_a_license_is_usable(license_: License, spent: int) -> None:
    """Until its last second included, and while a use is left, a license can be used."""
    license_.check_usable(100, spent=spent)


@pytest.mark.parametrize(
    ("license_", "spent", "error", "sentence"),
    [
        (license_of(0), 0, LicenseMissing, "holds no license"),
        (license_of(0, expiry=1, uses=1), 1, LicenseMissing, "holds no license"),
        (license_of(expiry=99), 0, LicenseExpired, "ended 1 s ago"),
        (license_of(expiry=0), 0, LicenseExpired, "ended 100 s ago"),
        (license_of(uses=2), 2, UsesExhausted, "All 2 uses"),
        (license_of(uses=2), 3, UsesExhausted, "All 2 uses"),
    ],
)
def test_a_license_is_not_usable(license_: License, spent: int, error: type[Denied], sentence: str) -> None:
    """Without a unit, after the term, or when every use is spent it cannot, and the fix is to buy."""
    with pytest.raises(error, match=sentence) as caught:
        license_.check_usable(100, spent=spent)
    assert caught.value.fix.endswith("databund license buy")
