"""Pseudonyms: HMACs by another library, keys from files, rotation, the command."""

import base64
import csv
import io
import pickle
import re
import stat
import string

import hypothesis.strategies as st
import pytest
from cryptography.hazmat.primitives import hashes, hmac
from hypothesis import given

from serving.privacy import __main__ as command
from serving.privacy.errors import PrivacyError
from serving.privacy.pseudonyms import KEY_FILE_VARIABLE, PREFIX, Pseudonyms, rotation

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
PSEUDONYMS = Pseudonyms(KEY)


def mac(key, message):
    digest = hmac.HMAC(key, hashes.SHA256())
    digest.update(message)
    return digest.finalize()


def test_a_pseudonym_is_a_keyed_hash_and_its_seal():
    hashed = mac(KEY, "id\0顾客 7".encode())[:16]
    expected = PREFIX + base64.urlsafe_b64encode(hashed + mac(KEY, b"seal\0" + hashed)[:8]).decode()
    assert PSEUDONYMS.of("顾客 7") == expected
    assert PSEUDONYMS.key_id == mac(KEY, b"key id")[:8].hex()
    assert Pseudonyms(OTHER).of("顾客 7") != expected and Pseudonyms(OTHER).key_id != PSEUDONYMS.key_id


@given(st.text(min_size=1), st.text(min_size=1))
def test_one_name_for_one_person(one, other):
    first, second = PSEUDONYMS.of(one), PSEUDONYMS.of(other)
    assert (first == second) == (one.strip() == other.strip())
    assert first == "" or re.fullmatch(r"ps_[A-Za-z0-9_-]{32}", first)
    assert PSEUDONYMS.of(f"  {one}\n") == first
    assert PSEUDONYMS.of(first) == first  # it knows its own
    if first:
        assert Pseudonyms(OTHER).of(first) != first  # and none of another key


@given(st.text(string.ascii_letters + string.digits + "_-", min_size=32, max_size=32))
def test_what_only_looks_like_a_pseudonym_is_an_id(text):
    assert PSEUDONYMS.of(PREFIX + text) != PREFIX + text


def test_another_spelling_of_a_pseudonym_is_an_id():
    names = [PSEUDONYMS.of(str(place)) for place in range(50)]
    for name in names:
        for other in (name.replace("-", "+"), name.replace("_", "/").replace("ps/", PREFIX), name + "=", name + "AAAA"):
            assert other == name or PSEUDONYMS.of(other) != other
    # Short contents have a hash that is shorter, too.
    for size in range(24):
        content = base64.urlsafe_b64encode(bytes(size)).decode()
        assert PSEUDONYMS.of(PREFIX + content) != PREFIX + content


def test_a_visitor_stays_one_and_other_things_are_no_ids():
    assert PSEUDONYMS.of("") == PSEUDONYMS.of(" ") == ""
    with pytest.raises(PrivacyError, match="a user id is int; expected a text"):
        PSEUDONYMS.of(17850)


def test_the_key_comes_from_a_file(tmp_path, monkeypatch):
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "line").write_bytes(KEY + b"\r\n")
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(tmp_path / "key"))
    for path in ("", str(tmp_path / "key"), str(tmp_path / "line")):
        assert Pseudonyms.from_file(path).of("u") == PSEUDONYMS.of("u")
    assert Pseudonyms.from_file(environment={KEY_FILE_VARIABLE: str(tmp_path / "line")}).key_id == PSEUDONYMS.key_id


def test_a_key_that_cannot_be_used_is_one_sentence(tmp_path):
    with pytest.raises(PrivacyError, match=rf"no key .* is named; expected `key_file` or {KEY_FILE_VARIABLE}\.$"):
        Pseudonyms.from_file(environment={})
    with pytest.raises(PrivacyError, match=r"gone: cannot be read \(No such file or directory\); expected the key"):
        Pseudonyms.from_file(str(tmp_path / "gone"))
    (tmp_path / "short").write_bytes(KEY[:31] + b"\n")
    with pytest.raises(PrivacyError, match=r"short: the key of pseudonyms has 31 bytes; expected at least 32\.$"):
        Pseudonyms.from_file(str(tmp_path / "short"))
    with pytest.raises(PrivacyError, match="has 0 bytes"):
        Pseudonyms(b"")


def test_the_key_is_not_pickled_and_not_shown():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(PSEUDONYMS)
    assert KEY.hex() not in repr(PSEUDONYMS) and repr(KEY) not in repr(PSEUDONYMS)


def test_rotation_knows_both_names():
    old, new = Pseudonyms(KEY), Pseudonyms(OTHER)
    assert rotation(old, new, ["a", "b"]) == {old.of("a"): new.of("a"), old.of("b"): new.of("b")}


def test_the_command_writes_keys_and_names_people(tmp_path, monkeypatch, capsys):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    for file in (first, second):
        assert command.main(["key", file]) == 0
    written = Pseudonyms.from_file(first)
    assert capsys.readouterr().out.splitlines()[0] == f"{first}: key {written.key_id}"
    assert stat.S_IMODE((tmp_path / "first").stat().st_mode) == 0o600
    assert (tmp_path / "first").read_bytes() != (tmp_path / "second").read_bytes()

    monkeypatch.setattr("sys.stdin", io.StringIO("17850\n\n a,b \n"))
    assert command.main(["ids", "--key-file", first, "--new-key-file", second]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["user_id"] for row in rows] == ["17850", "a,b"]
    assert [row["pseudonym"] for row in rows] == [written.of("17850"), written.of("a,b")]
    assert rows[0]["new_pseudonym"] == Pseudonyms.from_file(second).of("17850")

    assert command.main(["key", first]) == 1
    said = capsys.readouterr().err
    assert said == f"error: {first}: cannot be written (File exists); expected the name of a new file.\n"
