"""The store that a request is about."""

from uuid import UUID

from commerce.access import Principal, StoreNotAllowed
from commerce.kernel.errors import InvalidField


def store_of(who: Principal, given: UUID | None, *, path: str = "/location_id") -> UUID:
    """The store that somebody works at; a key of no store must name one.

    Raises InvalidField, StoreNotAllowed.
    """
    own = who.location_ids[0] if who.location_ids else None
    location_id = given or own
    if location_id is None:
        raise InvalidField(path=path, reason="name the store: your key belongs to none")
    if not who.sees(location_id):
        raise StoreNotAllowed(location_id=location_id)
    return location_id
