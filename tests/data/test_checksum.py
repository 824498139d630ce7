import hashlib

import pytest

from bitspike.data.checksum import Checksum, digest, digest_members, verify


def test_known_digests():
    assert digest(b"abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"
    assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_wrong_checksum_names_file_expected_found_and_remedy():
    expected = Checksum("md5", "900150983cd24fb0d6963f7d28e17f72")
    verify(b"abc", expected, "a/file")
    with pytest.raises(ValueError, match=r"a/file: wrong checksum, expected md5 9001\w+ but got \w+") as caught:
        verify(b"abd", expected, "a/file")
    assert "verify=False" in str(caught.value)
    assert digest(b"abd", "md5") in str(caught.value)


def test_unknown_algorithm():
    with pytest.raises(ValueError, match="'crc32' is not known"):
        digest(b"", "crc32")


def test_member_digest_ignores_order_but_not_borders():
    assert digest_members([("a", b"1"), ("b", b"2")]) == digest_members([("b", b"2"), ("a", b"1")])
    assert digest_members([("a", b"12"), ("b", b"")]) != digest_members([("a", b"1"), ("b", b"2")])
    by_hand = hashlib.sha256(b"a\x001\x001" + b"b\x002\x0022").hexdigest()
    assert digest_members([("a", b"1"), ("b", b"22")]) == by_hand
