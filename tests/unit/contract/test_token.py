"""Label tokens: what is written is read, and nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.contract.token import (
    ID_BYTES,
    MAX_ROWS,
    MAX_TOKEN_CHARACTERS,
    NO_BIN,
    TokenRefused,
    TokenWriter,
    read_token,
)

KEY = b"k" * 32
DIGEST = "sha256:" + "ab" * 32
BASELINE = "sha256:" + "cd" * 32
ID = bytes(range(ID_BYTES))
CLASSES = ("cat", "dog", "großer Bär", "")


def writer(key: bytes = KEY, classes: tuple[str, ...] = CLASSES) -> TokenWriter:
    return TokenWriter(
        key, digest=DIGEST, baseline=BASELINE, model="pets", version="v7", classes=classes
    )


def text(indices: list[int] | None = None) -> str:
    indices = [1] if indices is None else indices
    return writer().classes(indices, bytes(len(indices)), hour=490_000, id=ID)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=MAX_ROWS), st.binary(min_size=12, max_size=12)
)
def test_classes_come_back(indices: list[int], id: bytes) -> None:
    bins = bytes(index % 20 for index in range(len(indices)))
    token = read_token(writer().classes(indices, bins, hour=490_000, id=id), KEY)
    assert token.predicted == tuple(CLASSES[index] for index in indices)
    assert (token.bins, token.hour, token.id) == (bins, 490_000, id)
    assert (token.digest, token.baseline) == (DIGEST, BASELINE)
    assert (token.model, token.version) == ("pets", "v7")
    assert not token.is_regression


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=MAX_ROWS))
def test_values_come_back(values: list[float]) -> None:
    token = read_token(writer().values(values, hour=1, id=ID), KEY)
    assert token.predicted == tuple(values)
    assert token.is_regression


def test_only_the_first_256_rows_are_taken() -> None:
    long = writer().classes([0, 1] * 200, bytes(400), hour=1, id=ID)
    assert len(read_token(long, KEY).predicted) == 256
    assert len(read_token(writer().values([1.0] * 400, hour=1, id=ID), KEY).predicted) == 256


def test_two_hundred_fifty_six_names_fit() -> None:
    names = tuple(f"class {index}" for index in range(300))
    many = writer(classes=names).classes(list(range(256)), bytes([NO_BIN]) * 256, hour=1, id=ID)
    assert read_token(many, KEY).predicted == names[:256]


@pytest.mark.parametrize(("length", "rows"), [(180, 256), (303, 159), (20_000, 2), (60_000, 0)])
def test_names_that_are_too_long_for_all_rows_cover_the_first(length: int, rows: int) -> None:
    names = tuple(f"{i:03d}" + "n" * (length - 3) for i in range(256))
    made = writer(classes=names)
    assert made.most_rows == rows
    if rows:
        text = made.classes(range(256), bytes(256), hour=490_000, id=ID)
        assert len(text) <= MAX_TOKEN_CHARACTERS
        assert read_token(text, KEY).predicted == names[:rows]


def test_a_token_of_one_row_is_short() -> None:
    assert len(text()) < 180


def test_another_key_does_not_read_it() -> None:
    with pytest.raises(TokenRefused) as refused:
        read_token(text(), b"l" * 32)
    assert refused.value.reason == "forged"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(text() + "=" * (-len(text()) % 4)))
    raw[place % len(raw)] ^= change
    changed = base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
    with pytest.raises(TokenRefused):
        read_token(changed, KEY)


@given(st.text(max_size=300))
def test_no_text_is_a_token(anything: str) -> None:
    with pytest.raises(TokenRefused):
        read_token(anything, KEY)


@pytest.mark.parametrize(
    "wrong",
    ["", "a", "ä" * 100, "A" * 100_000, text()[:-1], text() + "=", text() + "A", " " + text()],
    ids=["empty", "short", "not_ascii", "too_long", "cut", "padded", "longer", "space"],
)
def test_malformed_tokens_are_refused(wrong: str) -> None:
    with pytest.raises(TokenRefused):
        read_token(wrong, KEY)


def test_one_token_has_one_spelling() -> None:
    """The spare bits of the last character do not make a second token of the same content."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = text()
    read = 0
    for last in alphabet:
        try:
            read_token(good[:-1] + last, KEY)
            read += 1
        except TokenRefused:
            continue
    assert read == 1


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        writer(key=b"short")
