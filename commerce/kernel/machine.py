"""Life cycles as tables. The database decides the race; this says which moves exist."""

from collections.abc import Iterable, Iterator, Mapping


class Machine(Mapping[str, frozenset[str]]):
    """States and where each may go. The first state named is the initial one.

    Checked when it is built: every target exists and every state is reachable from the first.
    """

    def __init__(self, **moves: Iterable[str]) -> None:
        self._moves = {state: frozenset(targets) for state, targets in moves.items()}
        self.initial = next(iter(self._moves))
        unknown = {t for targets in self._moves.values() for t in targets} - self._moves.keys()
        unreachable = self._moves.keys() - self._reachable()
        if unknown or unreachable:
            raise ValueError(f"unknown {sorted(unknown)}, unreachable {sorted(unreachable)}")

    def __getitem__(self, state: str) -> frozenset[str]:
        return self._moves[state]

    def __iter__(self) -> Iterator[str]:
        return iter(self._moves)

    def __len__(self) -> int:
        return len(self._moves)

    def sources(self, target: str) -> list[str]:
        """The states from which `target` may be entered: the right side of the compare-and-set."""
        if target not in self._moves:
            raise KeyError(target)
        return sorted(state for state, targets in self._moves.items() if target in targets)

    @property
    def terminal(self) -> frozenset[str]:
        """The states that nothing leaves."""
        return frozenset(state for state, targets in self._moves.items() if not targets)

    def _reachable(self) -> set[str]:
        seen, queue = {self.initial}, [self.initial]
        while queue:
            for target in self._moves.get(queue.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    queue.append(target)
        return seen
