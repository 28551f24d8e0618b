"""Who may make one person of two, and that both are told.

What somebody typed into an order makes two look like one person, so it may have been typed for
that: to be merged, and to read what the other has. In a store two are merged only for what both
have shown; the rest the back office decides. Every address that either had hears of it.
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from commerce import customers, messages
from commerce.access import Principal
from commerce.consents import MessageChannel
from commerce.customers import Merge, Person
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection
from commerce.matching.traits import Reason, in_common
from commerce.messages import Address, NewMessage


class MergeUnproven(CommerceError):
    """Nothing proves that the two are one person. The back office decides about them."""

    code = "merge_unproven"


async def merge(
    conn: Connection, who: Principal, *, source_id: UUID, target_id: UUID, seen: str, now: datetime
) -> Merge:
    """Make one person of two (see `customers.merge`), and write to both.

    Repeating it answers the merge that was made, and writes to nobody again. Raises MergeUnproven
    for staff of a store, NotFound, AlreadyOnePerson, MergeStale, PersonTooLarge.
    """
    source = await customers.person_of(conn, source_id)
    target = await customers.person_of(conn, target_id)
    two = source.id != target.id and not (source.erased or target.erased)
    if two and who.associate_id is not None and not await _proven(conn, source, target):
        raise MergeUnproven
    made = await customers.merge(
        conn, who, source_id=source_id, target_id=target_id, seen=seen, now=now
    )
    if two:
        told = [*_told(source, made, who.actor), *_told(target, made, who.actor)]
        await messages.write(conn, told, now)
    return made


async def _proven(conn: Connection, source: Person, target: Person) -> bool:
    shared = await in_common(conn, source.ids, target.ids)
    return any(Reason.of(kind).proof == "proven" for kind in shared)


def _told(person: Person, made: Merge, actor: str) -> Iterator[NewMessage]:
    """A message to each address that signs this person in."""
    for row in person.rows:
        addresses: dict[MessageChannel, str | None] = {"email": row.email, "sms": row.phone}
        for channel, recipient in addresses.items():
            if recipient is not None:
                yield NewMessage(
                    template="profiles_joined",
                    parameters={},
                    reason=ids.about(made.id, f"{row.id}:{channel}"),
                    shopper_id=row.id,
                    address=Address(channel, recipient, row.locale),
                    actor=actor,
                )
