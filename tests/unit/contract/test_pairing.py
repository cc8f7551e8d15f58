"""Tokens of format 2: both answers come back to who has the key, and nothing to anybody else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from trimtab.contract.pairing import PairWriter, Sealer
from trimtab.contract.token import (
    MAX_PAIRED_CHARACTERS,
    MAX_ROWS,
    TokenRefused,
    TokenWriter,
    read_token,
)

KEY = b"k" * 32
SEAL = b"s" * 16
OWN = "sha256:" + "ab" * 32
OTHER = "sha256:" + "ef" * 32
BASELINE = "sha256:" + "cd" * 32
ID = bytes(range(12))
FEW = ("cat", "dog", "großer Bär", "", "🐻")
MANY = tuple(f"класс {index}" for index in range(300))
LONG = tuple(f"{index:04d}" + "x" * 200 for index in range(1000))


def writers(
    own: tuple[str, ...] = FEW, other: tuple[str, ...] = FEW, seal: bytes = SEAL
) -> tuple[TokenWriter, PairWriter]:
    writer = TokenWriter(
        KEY, digest=OWN, baseline=BASELINE, model="pets", version="v7", classes=own
    )
    return writer, PairWriter(Sealer(seal), against=OTHER, own=own, other=other)


def paired(
    indices: list[int],
    others: list[int],
    own: tuple[str, ...] = FEW,
    other: tuple[str, ...] = FEW,
    seal: bytes = SEAL,
) -> str:
    writer, pair = writers(own, other, seal)
    fit = writer.paired_rows(len(indices), pair)
    return writer.paired(indices, bytes(len(indices)), others[:fit], pair, hour=490_000, id=ID)


pairs_of_rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=MAX_ROWS
)


@examples(deadline=None)
@given(pairs_of_rows)
def test_answers_of_few_classes_come_back(rows: list[tuple[int, int]]) -> None:
    text = paired([row[0] for row in rows], [row[1] for row in rows])
    token = read_token(text, KEY, Sealer(SEAL))
    assert token.predicted == tuple(FEW[row[0]] for row in rows)
    assert token.pair is not None
    assert token.pair.against == OTHER
    assert token.pair.names == tuple(FEW[row[1]] for row in rows)
    assert len(text) <= MAX_PAIRED_CHARACTERS


@examples(deadline=None)
@given(st.lists(st.integers(0, 299), min_size=1, max_size=40))
def test_answers_of_many_classes_are_right_or_not(others: list[int]) -> None:
    token = read_token(paired([7] * len(others), others, MANY, MANY), KEY, Sealer(SEAL))
    assert token.pair is not None
    assert token.pair.names is None
    assert token.pair.rows == len(others)
    for row, index in enumerate(others):
        assert token.pair.is_named(row, MANY[index])
        assert not token.pair.is_named(row, MANY[(index + 1) % 300])


@pytest.mark.parametrize("classes", [FEW, MANY], ids=["few", "many"])
def test_the_length_says_nothing_of_the_answers(classes: tuple[str, ...]) -> None:
    lengths = {
        len(paired([0] * 20, [index] * 20, classes, classes)) for index in range(len(classes))
    }
    assert len(lengths) == 1
    assert len(paired([0] * 20, list(range(4)) * 5, classes, classes)) in lengths


def test_nothing_of_the_other_answer_is_in_the_clear() -> None:
    """The token but for the sealed part is the same whatever the other version answered."""
    raw = [base64.urlsafe_b64decode(paired([0], [other]) + "==") for other in (1, 2)]
    _, pair = writers()
    sealed = pair.sealed_bytes(1) + 16
    assert raw[0][:-sealed] == raw[1][:-sealed]
    assert raw[0][-sealed:] != raw[1][-sealed:]
    assert b"Bear" not in raw[0]


@pytest.mark.parametrize(
    "sealer", [None, Sealer(b"another seal key")], ids=["no_key", "another_key"]
)
def test_who_cannot_open_it_reads_it_as_format_1(sealer: Sealer | None) -> None:
    token = read_token(paired([1, 2], [0, 0]), KEY, sealer)
    assert token.predicted == ("dog", "großer Bär")
    assert token.pair is None


@pytest.mark.parametrize("change", [1, 0x80, 0xFF])
def test_no_byte_of_it_can_be_changed(change: int) -> None:
    good = paired([1], [2])
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    sealer = Sealer(SEAL)
    assert read_token(good, KEY, sealer).pair is not None
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= change
        text = base64.urlsafe_b64encode(bytes(changed)).rstrip(b"=").decode()
        for reader in (sealer, None):
            with pytest.raises(TokenRefused) as refused:
                read_token(text, KEY, reader)
            assert refused.value.reason == ("forged" if place else "malformed") or place == 0


def test_no_cut_of_it_is_a_token() -> None:
    good = paired([1, 2, 3], [2, 3, 4])
    for length in range(len(good)):
        with pytest.raises(TokenRefused):
            read_token(good[:length], KEY, Sealer(SEAL))


def test_a_sealed_part_fits_its_own_token_alone() -> None:
    """Another id, hour, or predicted class: what was sealed for one is not opened in another."""
    _, pair = writers()
    sealer = Sealer(SEAL)
    plain = pair.packed([1])
    sealed = sealer.seal(plain, b"clear", nonce=ID, scope=b"hour 1")
    assert sealer.opened(sealed, b"clear", nonce=ID, scope=b"hour 1") == plain
    assert sealer.opened(sealed, b"Clear", nonce=ID, scope=b"hour 1") is None
    assert sealer.opened(sealed, b"clear", nonce=ID[::-1], scope=b"hour 1") is None
    assert sealer.opened(sealed, b"clear", nonce=ID, scope=b"hour 2") is None


@pytest.mark.parametrize(
    ("rows", "classes", "fit"),
    [(1, LONG, 1), (20, LONG, 20), (300, LONG, 0), (300, FEW, 256), (1, ("x" * 7000, "y"), 0)],
    ids=["one_row", "some_rows", "names_fill_it", "more_rows_than_a_token", "a_huge_name"],
)
def test_as_many_rows_are_paired_as_surely_fit(
    rows: int, classes: tuple[str, ...], fit: int
) -> None:
    writer, pair = writers(classes, classes)
    assert writer.paired_rows(rows, pair) == fit
    if fit:
        indices = [index % len(classes) for index in range(rows)]
        text = paired(indices, indices, classes, classes)
        assert len(text) <= MAX_PAIRED_CHARACTERS
        token = read_token(text, KEY, Sealer(SEAL))
        assert token.pair is not None
        assert token.pair.rows == fit


def test_the_first_rows_are_paired_where_not_all_fit() -> None:
    names = tuple(f"{index}" + "x" * 80 for index in range(11))
    writer, pair = writers(names, tuple(f"{index}" for index in range(12)))
    assert 0 < (fit := writer.paired_rows(256, pair)) <= 256
    long = tuple("y" * 200 + str(index) for index in range(20))
    writer, pair = writers(long, long)
    fit = writer.paired_rows(256, pair)
    assert 0 < fit < 256
    assert len(paired([3] * 256, [4] * 256, long, long)) <= MAX_PAIRED_CHARACTERS


def test_versions_of_other_classes_are_paired() -> None:
    token = read_token(paired([0], [1], ("a", "b"), ("a", "new")), KEY, Sealer(SEAL))
    assert token.pair is not None
    assert token.pair.names == ("new",)
    assert token.pair.is_named(0, "new")


def test_a_short_seal_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        Sealer(b"short")
