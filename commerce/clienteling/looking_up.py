"""Looking a shopper up: what an associate was told or shown becomes masked candidates.

Made so that nobody can list who there is. A look-up has a purpose and a reason and is on record,
whether it finds somebody or not; so many an hour are let through per associate and per store.
Phone and email are compared whole, a name needs two words and brings five people at most. Each
candidate is a first name, an initial, two digits and a city behind a reference that is good once,
for a few minutes, in this session. The same statements run whether anybody exists.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.access import Principal
from commerce.clienteling.searches import (
    ByEmail,
    ByLoyaltyCode,
    ByName,
    ByPhone,
    ByProfileCode,
    LookUpKind,
    Search,
    normal,
)
from commerce.clienteling.views import ViewPurpose
from commerce.fulfillment import pickup_code
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.sql import Connection, Query, either, records, records_of
from commerce.tables import (
    fulfillment,
    orders,
    shopper,
    shopper_candidate,
    shopper_look_up,
    store,
)
from commerce.tables.clienteling import name_key

CANDIDATE_LIFETIME = timedelta(minutes=5)
MAX_CANDIDATES = 5
MAX_HITS = 20
"""Rows that are looked at for a name: a person may have several."""
LOOK_UPS_PER_HOUR = {"associate": 30, "manager": 60}
STORE_LOOK_UPS_PER_HOUR = 300
_HOUR = timedelta(hours=1)
_LAST_CHARACTER = "\U0010ffff"


class LookUpLimitReached(CommerceError):
    """So many look-ups an hour, `of` an associate or of a store. Come back later."""

    code = "look_up_limit_reached"
    of: str
    limit: int
    retry_after_seconds: int


class Candidate(msgspec.Struct, frozen=True):
    """Somebody who may be meant: enough to ask "Ana T., from Puebla?", and not more."""

    id: UUID
    given_name: str | None
    initial: str | None
    phone_ending: str | None
    city: str | None
    expires_at: datetime


class LookUp(msgspec.Struct, frozen=True):
    """What was found. `more`: further people would fit; ask for something that is theirs alone."""

    id: UUID
    candidates: tuple[Candidate, ...]
    more: bool


class LookedUp(msgspec.Struct, frozen=True):
    """A look-up on record."""

    id: UUID
    associate_id: UUID
    session_id: UUID
    location_id: UUID
    kind: LookUpKind
    purpose: ViewPurpose
    reason: str
    found: int
    at: datetime


class _Recent(msgspec.Struct, frozen=True):
    by_associate: int
    oldest_by_associate: datetime | None
    by_store: int
    oldest_by_store: datetime | None


class _Hit(msgspec.Struct, frozen=True):
    shopper_id: UUID
    order_id: UUID | None
    mine: bool
    pickup_ids: list[UUID] | None


class _Row(msgspec.Struct, frozen=True):
    """One way in of a person who was found."""

    root: UUID
    name: str | None
    phone: str | None
    city: str | None


class _NewCandidate(msgspec.Struct, frozen=True):
    id: UUID
    look_up_id: UUID
    session_id: UUID
    shopper_id: UUID
    order_id: UUID | None
    expires_at: datetime


_MOMENT = DateTime(timezone=True)
_IDS = bindparam("ids", type_=ARRAY(Uuid()))
_SINCE = bindparam("since", type_=_MOMENT)
_looked = shopper_look_up.c

LOCK_SUBJECT = Query(
    select(
        func.pg_advisory_xact_lock(func.hashtextextended(bindparam("subject", type_=Text()), 0))
    ),
    type(None),
)
_BY_ASSOCIATE = (_looked.associate_id == bindparam("associate"), _looked.at > _SINCE)
_BY_STORE = (_looked.location_id == bindparam("at_store"), _looked.at > _SINCE)
RECENT = Query(
    select(
        select(func.count()).where(*_BY_ASSOCIATE).scalar_subquery().label("by_associate"),
        select(func.min(_looked.at))
        .where(*_BY_ASSOCIATE)
        .scalar_subquery()
        .label("oldest_by_associate"),
        select(func.count()).where(*_BY_STORE).scalar_subquery().label("by_store"),
        select(func.min(_looked.at)).where(*_BY_STORE).scalar_subquery().label("oldest_by_store"),
    ),
    _Recent,
)
_ROOT = func.coalesce(shopper.c.merged_into, shopper.c.id)
_NO_ORDER: tuple[ColumnElement[Any], ...] = (
    cast(null(), Uuid()).label("order_id"),
    literal_column("true").label("mine"),
    cast(null(), ARRAY(Uuid())).label("pickup_ids"),
)
_SOMEBODY = select(_ROOT.label("shopper_id"), *_NO_ORDER).where(shopper.c.erased_at.is_(None))
BY_ID = Query(_SOMEBODY.where(shopper.c.id == bindparam("of")), _Hit)
BY_LOYALTY_CODE = Query(_SOMEBODY.where(shopper.c.loyalty_code == bindparam("of")), _Hit)
BY_PHONE = Query(_SOMEBODY.where(shopper.c.phone == bindparam("of")), _Hit)
BY_EMAIL = Query(_SOMEBODY.where(shopper.c.email == bindparam("of")), _Hit)
_KEY = name_key(shopper.c.name)
BY_NAME = Query(
    _SOMEBODY.where(
        _KEY.op("~>=~", is_comparison=True)(name_key(bindparam("of", type_=Text()))),
        _KEY.op("~<~", is_comparison=True)(name_key(bindparam("until", type_=Text()))),
    ).limit(MAX_HITS),
    _Hit,
)
_SCOPE = bindparam("scope", type_=ARRAY(Uuid()))
_OF_ORDER = fulfillment.c.order_id == orders.c.id
BY_ORDER = Query(
    select(
        _ROOT.label("shopper_id"),
        orders.c.id.label("order_id"),
        or_(
            orders.c.location_id == any_(_SCOPE),
            select(fulfillment.c.id)
            .where(_OF_ORDER, fulfillment.c.location_id == any_(_SCOPE))
            .correlate(orders)
            .exists(),
        ).label("mine"),
        select(func.array_agg(fulfillment.c.id))
        .where(_OF_ORDER, fulfillment.c.kind == "pickup")
        .correlate(orders)
        .scalar_subquery()
        .label("pickup_ids"),
    )
    .join(shopper, shopper.c.id == orders.c.shopper_id)
    .where(orders.c.number == bindparam("of"), shopper.c.erased_at.is_(None)),
    _Hit,
)
_CITY = (
    select(store.c.address["city"].astext)
    .join(orders, orders.c.location_id == store.c.location_id)
    .where(orders.c.shopper_id == shopper.c.id)
    .order_by(orders.c.id.desc())
    .limit(1)
    .correlate(shopper)
    .scalar_subquery()
)
WHO = Query(
    select(_ROOT.label("root"), shopper.c.name, shopper.c.phone, _CITY.label("city"))
    .where(or_(shopper.c.id == any_(_IDS), shopper.c.merged_into == any_(_IDS)))
    .order_by(shopper.c.merged_into.is_not(None), shopper.c.id)
    .limit(1_000),
    _Row,
)
RECORD = Query(
    insert(shopper_look_up).values(
        id=bindparam("look_up_id", type_=Uuid()),
        associate_id=bindparam("associate", type_=Uuid()),
        session_id=bindparam("session", type_=Uuid()),
        location_id=bindparam("at_store", type_=Uuid()),
        kind=bindparam("by", type_=Text()),
        purpose=bindparam("what_for", type_=Text()),
        reason=bindparam("why", type_=Text()),
        found=bindparam("count", type_=Integer()),
        at=bindparam("now", type_=_MOMENT),
    )
)
_NEW = records_of(
    "candidates",
    id=Uuid(),
    look_up_id=Uuid(),
    session_id=Uuid(),
    shopper_id=Uuid(),
    order_id=Uuid(),
    expires_at=_MOMENT,
)
_NEW_COLUMNS = list(_NEW.c)
INSERT_CANDIDATES = Query(
    insert(shopper_candidate).from_select([c.name for c in _NEW_COLUMNS], select(*_NEW_COLUMNS))
)
_PAGE = (
    select(shopper_look_up)
    .where(either(_looked.id < bindparam("before", type_=Uuid()), "before", Uuid()))
    .order_by(_looked.id.desc())
    .limit(bindparam("page", type_=Integer()))
)
_at_store = either(_looked.location_id == bindparam("at_store", type_=Uuid()), "at_store", Uuid())
ALL_LOOK_UPS = Query(_PAGE.where(_at_store), LookedUp)
LOOK_UPS_BY = Query(_PAGE.where(_looked.associate_id == bindparam("by"), _at_store), LookedUp)


async def look_up(
    conn: Connection,
    who: Principal,
    search: Search,
    *,
    purpose: ViewPurpose,
    reason: str,
    secret: bytes,
    now: datetime,
) -> LookUp:
    """Find who may be meant, and put the look-up on record. Each call is another look-up.

    What was searched for is not kept. Raises InvalidField for a number, an address or a name that
    cannot be searched for, ProfileCodeRefused, and LookUpLimitReached; then nothing is on record.
    """
    assert who.associate_id is not None
    assert who.session_id is not None
    assert who.location_ids
    at_store = who.location_ids[0]
    wanted = normal(search, secret, now)
    await _check_pace(conn, who, at_store, now)
    hits = await _hits(conn, who, search, wanted, secret)
    roots = {hit.shopper_id: hit.order_id for hit in hits}
    rows = await conn.run(WHO, ids=list(roots))
    made = LookUp(ids.uuid7(), _candidates(roots, rows, now), more=len(roots) > MAX_CANDIDATES)
    await conn.later(
        RECORD,
        look_up_id=made.id,
        associate=who.associate_id,
        session=who.session_id,
        at_store=at_store,
        by=search.__struct_config__.tag,
        what_for=purpose,
        why=reason,
        count=len(made.candidates),
        now=now,
    )
    await conn.flush()  # the candidates name it
    stored = [
        _NewCandidate(each.id, made.id, who.session_id, root, roots[root], each.expires_at)
        for each, root in zip(made.candidates, roots, strict=False)
    ]
    await conn.run(INSERT_CANDIDATES, candidates=records(stored))
    return made


async def look_ups(
    conn: Connection,
    *,
    before: UUID | None,
    page: int,
    location_id: UUID | None = None,
    associate_id: UUID | None = None,
) -> list[LookedUp]:
    """Look-ups on record, newest first, beginning behind `before`; of these alone."""
    if associate_id is None:
        return await conn.run(ALL_LOOK_UPS, before=before, page=page, at_store=location_id)
    return await conn.run(
        LOOK_UPS_BY, by=associate_id, before=before, page=page, at_store=location_id
    )


async def _check_pace(conn: Connection, who: Principal, at_store: UUID, now: datetime) -> None:
    """So many in an hour; whoever asks at the same time waits for the count."""
    for subject in (f"look-up:{who.associate_id}", f"look-up:{at_store}"):
        await conn.run(LOCK_SUBJECT, subject=subject)
    recent = await conn.one(
        RECENT, associate=who.associate_id, at_store=at_store, since=now - _HOUR
    )
    limits = (
        ("associate", LOOK_UPS_PER_HOUR[who.role or ""], recent.by_associate,
         recent.oldest_by_associate),
        ("store", STORE_LOOK_UPS_PER_HOUR, recent.by_store, recent.oldest_by_store),
    )  # fmt: skip
    for of, limit, count, oldest in limits:
        if count >= limit and oldest is not None:
            wait = int((oldest + _HOUR - now).total_seconds()) + 1
            raise LookUpLimitReached(of=of, limit=limit, retry_after_seconds=wait)


async def _hits(
    conn: Connection, who: Principal, search: Search, wanted: str, secret: bytes
) -> Sequence[_Hit]:
    if isinstance(search, ByProfileCode):
        return await conn.run(BY_ID, of=UUID(wanted))
    if isinstance(search, ByLoyaltyCode):
        return await conn.run(BY_LOYALTY_CODE, of=wanted)
    if isinstance(search, ByPhone):
        return await conn.run(BY_PHONE, of=wanted)
    if isinstance(search, ByEmail):
        return await conn.run(BY_EMAIL, of=wanted)
    if isinstance(search, ByName):
        return await conn.run(BY_NAME, of=wanted, until=wanted + _LAST_CHARACTER)
    found = await conn.run(BY_ORDER, of=wanted, scope=list(who.location_ids or ()))
    shown = search.pickup_code or ""
    return [
        hit
        for hit in found
        if hit.mine
        or any(ids.same_code(shown, pickup_code(secret, each)) for each in hit.pickup_ids or ())
    ]


def _candidates(
    roots: Collection[UUID], rows: Sequence[_Row], now: datetime
) -> tuple[Candidate, ...]:
    """The first people, masked."""
    return tuple(
        _masked([row for row in rows if row.root == root], now)
        for root in list(roots)[:MAX_CANDIDATES]
    )


def _masked(rows: Sequence[_Row], now: datetime) -> Candidate:
    name = next((row.name for row in rows if row.name), "")
    phone = next((row.phone for row in rows if row.phone), "")
    given, *others = name.split() or [""]
    return Candidate(
        id=ids.uuid7(),
        given_name=given or None,
        initial=others[-1][0] if others else None,
        phone_ending=phone[-2:] or None,
        city=next((row.city for row in rows if row.city), None),
        expires_at=now + CANDIDATE_LIFETIME,
    )
