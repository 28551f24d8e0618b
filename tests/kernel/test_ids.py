"""Order numbers never collide, codes survive people, ids follow time."""

import hashlib
import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.kernel import clock, ids, partitions

KEYS = st.binary(min_size=16, max_size=32)
SPACE = 32**7
SYMBOLS = re.compile(f"[{ids.ALPHABET}]+")


def sequence_of(key: bytes, number: str) -> int:
    """The sequence that a number stands for: the permutation walked backwards."""
    value = 0
    for symbol in reversed(number):
        value = value * 32 + ids.ALPHABET.index(symbol)
    while True:
        left, right = divmod(value, 2**18)
        for index in reversed(range(4)):
            block = bytes((index,)) + left.to_bytes(3, "big")
            mixed = hashlib.blake2b(block, key=key, digest_size=3).digest()
            left, right = right ^ (int.from_bytes(mixed, "big") % 2**18), left
        value = left * 2**18 + right
        if value < SPACE:
            return value


@given(KEYS, st.integers(0, SPACE - 1))
def test_a_number_leads_back_to_its_sequence_so_no_two_are_the_same(
    key: bytes, sequence: int
) -> None:
    number = ids.order_number(key, sequence)
    assert (len(number), SYMBOLS.fullmatch(number) is not None) == (7, True)
    assert sequence_of(key, number) == sequence


def test_numbers_of_neighbours_tell_nothing() -> None:
    numbers = [ids.order_number(b"k" * 32, sequence) for sequence in range(4_096)]
    assert len(set(numbers)) == 4_096
    for place in range(7):
        seen = [number[place] for number in numbers]
        assert {symbol: seen.count(symbol) > 60 for symbol in ids.ALPHABET} == dict.fromkeys(
            ids.ALPHABET, True
        )


@pytest.mark.parametrize("sequence", [-1, SPACE])
def test_numbers_end_where_seven_symbols_end(sequence: int) -> None:
    with pytest.raises(ValueError, match="used up"):
        ids.order_number(b"k" * 32, sequence)


SPOKEN = {"0": "0Oo", "1": "1IiLl"}


@given(st.text(ids.ALPHABET, min_size=1, max_size=12), st.data())
def test_a_code_is_the_same_however_a_person_types_it(code: str, data: st.DataObject) -> None:
    typed = "".join(
        data.draw(st.sampled_from(SPOKEN.get(symbol, symbol + symbol.lower())))
        + data.draw(st.sampled_from(["", " ", "-", ". "]))
        for symbol in code
    )
    assert ids.same_code(typed, code)
    assert ids.normal_code(ids.normal_code(typed)) == code


@given(st.text(), st.text(ids.ALPHABET, min_size=6, max_size=6))
def test_anything_else_is_another_code(typed: str, code: str) -> None:
    assert ids.same_code(typed, code) == (ids.normal_code(typed) == code)


@given(st.binary(min_size=32, max_size=32), st.uuids(), st.integers(1, 26))
def test_a_derived_code_depends_on_key_label_and_subject(
    key: bytes, subject: UUID, length: int
) -> None:
    code = ids.derived(key, "pickup", subject, length)
    assert (len(code), SYMBOLS.fullmatch(code) is not None) == (length, True)
    assert code == ids.derived(key, "pickup", subject, length)
    others = {
        ids.derived(key, "order", subject, 26),
        ids.derived(key, "pickup", UUID(int=subject.int ^ 1), 26),
        ids.derived(key[::-1] + b"x", "pickup", subject, 26),
    }
    assert len(others | {ids.derived(key, "pickup", subject, 26)}) == 4


def test_a_label_cannot_be_mistaken_for_a_subject() -> None:
    # Without a separator, "a" about a subject that begins with "b" would be "ab" about the rest.
    assert ids.derived(b"k", "a", UUID(int=0), 26) != ids.derived(b"k", "a\0", UUID(int=0), 26)


def test_ids_follow_time_and_fall_into_their_month() -> None:
    made = [ids.uuid7() for _ in range(1_000)]
    assert made == sorted(set(made))
    assert {each.version for each in made} == {7}
    start, end = partitions.months(clock.now())[-1 - partitions.MONTHS_AHEAD]
    assert partitions.bound(start) <= made[0] <= made[-1] < partitions.bound(end)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_months_follow_each_other_without_a_gap(now: datetime) -> None:
    months = partitions.months(now)
    late = now - partitions.LATE
    assert months[0][0] <= late < months[0][1]
    present = months[-1 - partitions.MONTHS_AHEAD]
    assert present[0] <= now < present[1]
    assert [end for _, end in months[:-1]] == [start for start, _ in months[1:]]
    assert {(start.day, start.hour, start.tzinfo) for start, _ in months} == {(1, 0, UTC)}
    assert partitions.bound(present[0]) <= partitions.bound(now) < partitions.bound(present[1])


def test_secrets_are_told_by_their_prefix_and_stored_as_a_digest() -> None:
    one, other = ids.secret("sk"), ids.secret("sk")
    assert one.startswith("sk_")
    assert one != other
    assert len(one) >= 46
    assert ids.digest(one) == hashlib.sha256(one.encode()).digest()
