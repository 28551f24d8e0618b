"""Who gets the stock, as properties: never too much, all or nothing, first come first served."""

from collections import Counter
from datetime import UTC, datetime
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from inventory.demands import Demand, Held, Refused, Reservation, Shortage, Want, decide, summed
from inventory.stock import Key, Level

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEYS: list[Key] = [(UUID(int=at), sku) for at in (1, 2) for sku in ("cup", "mug")]
Levels = dict[Key, Level]


def demand(number: int, wants: list[tuple[Key, int]]) -> Demand:
    return Demand(
        UUID(int=number), tuple(Want(*key, units) for key, units in wants), "guest", "test"
    )


def level(key: Key, counters: tuple[int, int, int]) -> Level:
    return Level(*key, *counters)


def expired_hold(number: int, key: Key, units: int) -> Reservation:
    return Reservation(
        demand_id=UUID(int=number), location_id=key[0], sku=key[1], quantity=units,
        hold_class="guest", state="held", expires_at=NOW, promised_at=None, created_at=NOW,
    )  # fmt: skip


COUNTERS = st.tuples(st.integers(-5, 20), st.integers(0, 15), st.integers(0, 5))
LEVELS = st.lists(COUNTERS, min_size=len(KEYS), max_size=len(KEYS)).map(
    lambda counters: {key: level(key, each) for key, each in zip(KEYS, counters, strict=True)}
)
WANTS = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 6)), min_size=1, max_size=4)
DEMANDS = st.lists(WANTS, max_size=5).map(
    lambda every: [demand(number, wants) for number, wants in enumerate(every)]
)
EXPIRED = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 5)), max_size=3).map(
    lambda every: [expired_hold(100 + number, *each) for number, each in enumerate(every)]
)


def free_of(levels: Levels, expired: list[Reservation]) -> Counter[Key]:
    free = Counter(
        {key: each.on_hand - each.reserved - each.safety_stock for key, each in levels.items()}
    )
    free.update(dict.fromkeys(levels, 0))
    for each in expired:
        free[each.key] += each.quantity
    return free


def one_by_one(free: Counter[Key], wanted: Demand) -> bool:
    """Take unit after unit from a copy of what is free, as at a shelf; all or nothing."""
    left = free.copy()
    for want in wanted.wants:
        for _ in range(want.quantity):
            if left[want.location_id, want.sku] < 1:
                return False
            left[want.location_id, want.sku] -= 1
    free.clear()
    free.update(left)
    return True


@given(LEVELS, EXPIRED, DEMANDS)
def test_each_takes_unit_after_unit_in_turn_and_never_beyond_what_there_is(
    levels: Levels, expired: list[Reservation], demands: list[Demand]
) -> None:
    free = free_of(levels, expired)
    taken = [one_by_one(free, each) for each in demands]
    outcomes = decide(levels, expired, demands)
    assert [isinstance(each, Held) for each in outcomes] == taken
    assert [each.demand_id for each in outcomes] == [each.id for each in demands]
    promised = [each for each, got in zip(demands, taken, strict=True) if got]
    for key, units in sum((Counter(summed(each)) for each in promised), Counter[Key]()).items():
        level = levels[key]
        given_back = sum(each.quantity for each in expired if each.key == key)
        assert level.reserved - given_back + units + level.safety_stock <= level.on_hand


@given(LEVELS, EXPIRED, DEMANDS)
def test_a_refusal_names_each_key_that_falls_short_with_what_was_left_of_it(
    levels: Levels, expired: list[Reservation], demands: list[Demand]
) -> None:
    free = free_of(levels, expired)
    for wanted, outcome in zip(demands, decide(levels, expired, demands), strict=True):
        short = {
            Shortage(*key, units, max(0, free[key]))
            for key, units in summed(wanted).items()
            if units > free[key]
        }
        if isinstance(outcome, Refused):
            assert short
            assert set(outcome.shortages) == short
            assert len(outcome.shortages) == len(short)
        else:
            assert not short
            free.subtract(summed(wanted))


@given(LEVELS, EXPIRED, DEMANDS, st.integers(0, 5))
def test_neither_who_comes_later_nor_who_is_refused_changes_anything_for_others(
    levels: Levels, expired: list[Reservation], demands: list[Demand], count: int
) -> None:
    outcomes = decide(levels, expired, demands)
    assert decide(levels, expired, demands[:count]) == outcomes[:count]
    held = [d for d, outcome in zip(demands, outcomes, strict=True) if isinstance(outcome, Held)]
    assert decide(levels, expired, held) == [Held(each.id) for each in held]


@given(LEVELS, EXPIRED, WANTS, st.randoms(use_true_random=False))
def test_wants_on_one_key_count_together_in_any_order_and_any_parts(
    levels: Levels, expired: list[Reservation], wants: list[tuple[Key, int]], random: Random
) -> None:
    units = [(key, 1) for key, quantity in wants for _ in range(quantity)]
    random.shuffle(units)
    whole, parts = demand(1, wants), demand(1, units)
    assert summed(whole) == summed(parts)
    (one,), (other,) = decide(levels, expired, [whole]), decide(levels, expired, [parts])
    assert type(one) is type(other)
    if isinstance(one, Refused) and isinstance(other, Refused):
        assert set(one.shortages) == set(other.shortages)


@given(LEVELS, EXPIRED, WANTS)
def test_an_expired_hold_is_worth_as_much_as_stock_that_was_never_held(
    levels: Levels, expired: list[Reservation], wants: list[tuple[Key, int]]
) -> None:
    swept = dict(levels)
    for each in expired:
        before = swept[each.key]
        swept[each.key] = Level(
            *each.key, before.on_hand, before.reserved - each.quantity, before.safety_stock
        )
    wanted = [demand(1, wants)]
    assert decide(levels, expired, wanted) == decide(swept, [], wanted)
