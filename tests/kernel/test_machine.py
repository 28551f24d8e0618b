"""Life cycles: what a table of moves allows, and which tables are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce import states
from commerce.kernel.machine import Machine

STATES = "abcd"
MOVES = st.dictionaries(st.sampled_from(STATES), st.sets(st.sampled_from(STATES)), min_size=1)


def reachable(moves: dict[str, set[str]]) -> set[str]:
    seen = {next(iter(moves))}
    while True:
        more = seen.union(*(moves.get(state, set()) for state in seen))
        if more == seen:
            return seen
        seen = more


@given(MOVES)
def test_a_table_is_a_life_cycle_when_every_state_is_named_and_reached(
    moves: dict[str, set[str]],
) -> None:
    if reachable(moves) != moves.keys():
        with pytest.raises(ValueError, match=r"unknown|unreachable"):
            Machine(**moves)
        return
    machine = Machine(**moves)
    assert machine.initial == next(iter(moves))
    assert {state: set(targets) for state, targets in machine.items()} == moves
    assert machine.terminal == {state for state, targets in moves.items() if not targets}
    for target in moves:
        assert machine.sources(target) == sorted(s for s in moves if target in moves[s])


def test_what_is_wrong_with_a_table_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown \['shipped'\]"):
        Machine(placed={"shipped"})
    with pytest.raises(ValueError, match=r"unreachable \['lost'\]"):
        Machine(placed=set(), lost={"placed"})


def test_sources_of_a_state_that_does_not_exist_are_a_bug() -> None:
    with pytest.raises(KeyError):
        Machine(placed=set()).sources("shipped")


# An erasure rests when it is finished, and goes on when something turns up that was under way.
MACHINES = {
    name: each
    for name, each in vars(states).items()
    if isinstance(each, Machine) and each is not states.ERASURE
}


RESTING = {"ERASURE": frozenset({"finished"})}
"""Where a life cycle without a last state comes to rest: a late order opens an erasure again."""


@pytest.mark.parametrize("name", MACHINES)
def test_every_life_cycle_of_ours_can_end(name: str) -> None:
    machine = MACHINES[name]
    ends = machine.terminal or RESTING[name]
    for state in machine:
        seen, queue = {state}, [state]
        while queue:
            new = machine[queue.pop()] - seen
            seen |= new
            queue += new
        assert seen & ends, f"{state} never ends"
