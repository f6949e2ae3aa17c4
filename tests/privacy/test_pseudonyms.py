"""What stands in the place of an erased address."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from mailonce.errors import InvalidInput
from mailonce.privacy.pseudonyms import Pseudonyms, check_key, is_pseudonym, without_addresses

KEY = b"0123456789abcdef0123456789abcdef"


def test_it_is_the_hash_that_anybody_with_the_key_can_make() -> None:
    expected = hmac.new(KEY, b"ann@example.com", hashlib.sha256).hexdigest()
    assert Pseudonyms(KEY).of("ann@example.com") == f"hmac-sha256:{expected}"


def test_spellings_of_one_address_share_it_and_it_is_its_own() -> None:
    pseudonyms = Pseudonyms(KEY)
    (one,) = {pseudonyms.of(spelling) for spelling in ("ann@example.com", " Ann@Example.COM ")}
    assert pseudonyms.of(one) == one
    assert is_pseudonym(one)
    assert not is_pseudonym("ann@example.com")
    assert one not in (pseudonyms.of("bob@example.com"), Pseudonyms(KEY[::-1]).of("ann@example.com"))


def test_a_short_key_hides_nothing() -> None:
    with pytest.raises(InvalidInput, match="31 bytes, fewer than 32"):
        Pseudonyms(KEY[:31])


def test_another_key_or_none_is_noticed() -> None:
    said, other = Pseudonyms(KEY).check, Pseudonyms(KEY[::-1])
    assert KEY.decode() not in said
    ours = Pseudonyms(KEY)
    assert check_key(said, ours) is ours
    with pytest.raises(InvalidInput, match="another key"):
        check_key(said, other)
    with pytest.raises(InvalidInput, match="it is not set"):
        check_key(said, None)


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("550 5.1.1 <Ann@example.com>: unknown", "550 5.1.1 <(address)>: unknown"),
        ("told ann.smith+x@mail.example, bob@example.com", "told (address), (address)"),
        ("nothing of the kind @ all", "nothing of the kind @ all"),
    ],
)
def test_a_text_loses_its_addresses(text: str, without: str) -> None:
    assert without_addresses(text) == without
