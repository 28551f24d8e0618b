"""What shoppers have in common: learned from what they tell, give and show.

Traits are kept as keyed digests. One that many share (the phone of a hotel) says nothing.
"""

import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    LargeBinary,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce import customers
from commerce.kernel import ids
from commerce.kernel.events import Recorded
from commerce.kernel.sql import Connection, Query, columns_of, rows_of
from commerce.tables import contact, orders, payment, shopper, shopper_duplicate, shopper_trait

TraitKind = Literal["email", "phone", "loyalty_code", "card"]
Proof = Literal["proven", "told"]

TOO_COMMON = 5
"""Shoppers with one trait, from which on it says nothing."""


class Reason(msgspec.Struct, frozen=True):
    """Something that two persons have in common, and how far it goes.

    `proven`: both have shown it. `told`: one of them, or both, merely said so.
    """

    kind: TraitKind
    proof: Proof

    @classmethod
    def of(cls, kind: TraitKind) -> "Reason":
        """Both paid with a card; an address signs one profile in, so another only typed it.

        So it is with the code of a loyalty card: it is one profile's own, nobody checks others.
        """
        return cls(kind, "proven" if kind == "card" else "told")


class _Trait(msgspec.Struct, frozen=True, order=True):
    kind: TraitKind
    digest: bytes
    shopper_id: UUID


class _Told(msgspec.Struct, frozen=True):
    """Something that a shopper told or showed."""

    shopper_id: UUID
    kind: TraitKind
    value: str


class _Match(msgspec.Struct, frozen=True):
    shopper_id: UUID
    other_id: UUID


_IDS = bindparam("ids", type_=ARRAY(Uuid()))
_OTHERS = bindparam("others", type_=ARRAY(Uuid()))
_MOMENT = DateTime(timezone=True)

SHOPPERS_OF_ORDERS = Query(
    select(orders.c.shopper_id)
    .where(orders.c.id == any_(_IDS), orders.c.shopper_id.is_not(None))
    .distinct(),
    UUID,
)
LOCK_KNOWN = Query(
    select(shopper.c.id)
    .where(shopper.c.id == any_(_IDS), shopper.c.erased_at.is_(None))
    .order_by(shopper.c.id)
    .with_for_update(read=True),
    UUID,
)
_OWN = (
    ("email", shopper.c.email),
    ("phone", shopper.c.phone),
    ("loyalty_code", shopper.c.loyalty_code),
    ("loyalty_code", shopper.c.other_loyalty_code),
)
TOLD_BY_SHOPPERS = Query(
    union_all(
        *(
            select(
                shopper.c.id.label("shopper_id"), literal(kind).label("kind"), column.label("value")
            ).where(shopper.c.id == any_(_IDS), column.is_not(None))
            for kind, column in _OWN
        )
    ),
    _Told,
)
TOLD_WITH_ORDERS = Query(
    union_all(
        *(
            select(
                orders.c.shopper_id, literal(kind).label("kind"), column.label("value")
            )
            .join(table, on)
            .where(orders.c.id == any_(_IDS), orders.c.shopper_id.is_not(None), column.is_not(None))
            for kind, column, table, on in (
                ("email", contact.c.email, contact, contact.c.id == orders.c.contact_id),
                ("phone", contact.c.phone, contact, contact.c.id == orders.c.contact_id),
                ("card", payment.c.card_fingerprint, payment, payment.c.order_id == orders.c.id),
            )
        )
    ),
    _Told,
)  # fmt: skip
_NEW = rows_of("traits", kind=Text(), digest=LargeBinary(), shopper_id=Uuid())
ADD_TRAITS = Query(
    upsert(shopper_trait)
    .from_select(
        ["kind", "digest", "shopper_id"],
        select(_NEW.c.kind, _NEW.c.digest, _NEW.c.shopper_id).order_by(_NEW.c.position),
    )
    .on_conflict_do_nothing()
)
_mine, _other, _any = (shopper_trait.alias(name) for name in ("mine", "other", "anyone"))
_HOLDERS = (
    select(literal(1))
    .where(_any.c.kind == _mine.c.kind, _any.c.digest == _mine.c.digest)
    .limit(TOO_COMMON)
    .correlate(_mine)
    .subquery()
    .lateral()
)
_SHARED = and_(
    _other.c.kind == _mine.c.kind,
    _other.c.digest == _mine.c.digest,
    _other.c.shopper_id != _mine.c.shopper_id,
)
MATCHES = Query(
    select(_mine.c.shopper_id, _other.c.shopper_id.label("other_id"))
    .distinct()
    .select_from(_mine)
    .join(_other, _SHARED)
    .where(
        _mine.c.shopper_id == any_(_IDS),
        select(func.count()).select_from(_HOLDERS).scalar_subquery() < TOO_COMMON,
    )
    .limit(1_000),
    _Match,
)
_WHY = bindparam("why", type_=ARRAY(Text()))
SUGGEST = Query(
    upsert(shopper_duplicate)
    .values(
        id=bindparam("duplicate_id", type_=Uuid()),
        first_id=bindparam("first", type_=Uuid()),
        second_id=bindparam("second", type_=Uuid()),
        reasons=_WHY,
        state="suggested",
        found_at=bindparam("now", type_=_MOMENT),
    )
    .on_conflict_do_update(
        index_elements=["first_id", "second_id"],
        set_={"reasons": _WHY},
        where=shopper_duplicate.c.reasons != _WHY,
    )
)
COMMON = Query(
    select(_mine.c.kind)
    .distinct()
    .select_from(_mine)
    .join(_other, _SHARED)
    .where(_mine.c.shopper_id == any_(_IDS), _other.c.shopper_id == any_(_OTHERS)),
    str,
)


async def learn(conn: Connection, new: Sequence[Recorded], *, secret: bytes, now: datetime) -> None:
    """Note the traits that events of orders and shoppers brought, and suggest whom they match.

    Repeating it changes nothing.
    """
    order_ids = [each.aggregate_id for each in new if each.aggregate == "order"]
    asked = [each.aggregate_id for each in new if each.aggregate == "shopper"]
    if order_ids:
        asked += await conn.run(SHOPPERS_OF_ORDERS, ids=order_ids)
    known = set(await conn.run(LOCK_KNOWN, ids=sorted(set(asked))))
    if not known:
        return
    told = await conn.run(TOLD_BY_SHOPPERS, ids=sorted(known))
    if order_ids:
        told += await conn.run(TOLD_WITH_ORDERS, ids=order_ids)
    traits = sorted(
        {
            _Trait(each.kind, _digest(secret, each), each.shopper_id)
            for each in told
            if each.shopper_id in known
        }
    )
    await conn.run(ADD_TRAITS, **columns_of(traits, "kind", "digest", "shopper_id"))
    for first, second in await _matches(conn, known):
        await conn.run(
            SUGGEST,
            duplicate_id=ids.uuid7(),
            first=first[0],
            second=second[0],
            why=await in_common(conn, first, second),
            now=now,
        )


async def _matches(
    conn: Connection, shopper_ids: Iterable[UUID]
) -> list[tuple[tuple[UUID, ...], tuple[UUID, ...]]]:
    """Pairs of persons, each with all ids, who share a trait that one of these shoppers has."""
    found = await conn.run(MATCHES, ids=sorted(shopper_ids))
    named = {each for match in found for each in (match.shopper_id, match.other_id)}
    persons = await customers.persons_of(conn, sorted(named))
    pairs = {tuple(sorted((persons[m.shopper_id], persons[m.other_id]))) for m in found}
    return sorted((first, second) for first, second in pairs if first != second)


async def in_common(
    conn: Connection, person_ids: Sequence[UUID], other_ids: Sequence[UUID]
) -> list[TraitKind]:
    """The kinds of traits that two persons share."""
    found = await conn.run(COMMON, ids=list(person_ids), others=list(other_ids))
    return sorted(msgspec.convert(found, list[TraitKind]))


def _digest(secret: bytes, told: _Told) -> bytes:
    """Keyed: a phone number is guessed from a plain digest in a moment."""
    return hmac.digest(secret, f"trait\0{told.kind}\0{told.value}".encode(), "sha256")
