"""Pages of what is ordered by time: the cursor is the last entry's moment and id."""

from datetime import datetime
from uuid import UUID

from api.pages import decode
from api.refusals import InvalidRequest
from commerce.messages import Entry, Position


def key_of(entry: Entry) -> str:
    """An entry's place among all."""
    return f"{entry.at.isoformat()} {entry.id}"


def position_of(cursor: str | None) -> Position | None:
    """The place that a cursor names. Raises `InvalidRequest` for one that we did not make."""
    key = decode(cursor)
    if key is None:
        return None
    at, _, entry_id = key.rpartition(" ")
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError(at)  # noqa: TRY301  one refusal for whatever is wrong
        return Position(moment, UUID(entry_id))
    except ValueError as wrong:
        raise InvalidRequest(path="?cursor", reason="Not a cursor of this list") from wrong
