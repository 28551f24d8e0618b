"""The shopper hands a cart over: an associate claims it by its code, and both see every edit.

A code is eight symbols, good for ten minutes and one claim; it is stored as a keyed digest, because
so few symbols are guessed from a plain one. The claim opens the cart, and nothing else about the
shopper, to those who work at that store. It ends when either side releases it, with the order, or
after eight hours. Handing over is the shopper's own act, so it asks for no other consent.

Tries are counted by tablet and by associate; a claim that succeeds gives its try back.

An associate may send a payment link: whoever has it checks the cart out and pays, and cannot change
what is in it. It lives for a day, also after the claim, until it is revoked or somebody orders.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    DateTime,
    LargeBinary,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    func,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from commerce import access
from commerce.access import Principal
from commerce.carts.rows import COLUMNS, Cart, Owner, lock_live, released
from commerce.customers import CodeRefused
from commerce.kernel import events, ids
from commerce.kernel.errors import CommerceError
from commerce.kernel.events import Event
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.states import CART
from commerce.tables import cart, claim_try

CODE_LENGTH = 8
CODE_LIFETIME = timedelta(minutes=10)
CLAIM_LIFETIME = timedelta(hours=8)
LINK_LIFETIME = timedelta(hours=24)
MAX_TRIES = 10
"""Codes that are not right, per tablet and per associate, in a quarter of an hour."""

TRIES_WINDOW = timedelta(minutes=15)
MAX_CLAIMED = 200
"""Carts of a store that are listed."""


class TooManyTries(CommerceError):
    """Too many codes were wrong. Wait, and let the shopper ask for a new code."""

    code = "too_many_tries"
    retry_after_seconds: int


class ClaimCode(msgspec.Struct, frozen=True):
    """What the shopper shows to the associate. It is shown only here."""

    code: str
    expires_at: datetime


class _Tried(msgspec.Struct, frozen=True):
    tries: int
    window_ends_at: datetime


_TIME = DateTime(timezone=True)
_NOW = bindparam("now", type_=_TIME)
_OF = cart.c.id == bindparam("of")
_LIVE = cart.c.state.in_(sorted(CART.keys() - CART.terminal))
_DIGEST = bindparam("digest", type_=LargeBinary())
_SUBJECTS = rows_of("s", subject=Text())

KEEP_CODE = Query(
    update(cart)
    .values(code_digest=_DIGEST, code_expires_at=bindparam("until", type_=_TIME))
    .where(_OF)
)
CLAIM = Query(
    update(cart)
    .values(
        claimed_by=bindparam("by", type_=Text()),
        claim_location_id=bindparam("at", type_=Uuid()),
        claimed_at=_NOW,
        claim_expires_at=bindparam("until", type_=_TIME),
        code_digest=null(),
        code_expires_at=null(),
        revision=cart.c.revision + 1,
        updated_at=_NOW,
    )
    .where(cart.c.code_digest == _DIGEST, cart.c.code_expires_at > _NOW, _LIVE)
    .returning(*COLUMNS),
    Cart,
)
RELEASE = Query(
    update(cart)
    .values(claim_expires_at=null(), revision=cart.c.revision + 1, updated_at=_NOW)
    .where(_OF)
    .returning(*COLUMNS),
    Cart,
)
CLAIMED_AT = Query(
    select(*COLUMNS)
    .where(
        cart.c.claim_location_id == any_(bindparam("store_ids", type_=ARRAY(Uuid()))),
        cart.c.claim_expires_at.is_not(None),
        cart.c.claim_expires_at > _NOW,
        _LIVE,
    )
    .order_by(cart.c.claimed_at.desc())
    .limit(MAX_CLAIMED),
    Cart,
)
LINK = Query(
    update(cart)
    .values(link_number=cart.c.link_number + 1, link_expires_at=bindparam("until", type_=_TIME))
    .where(_OF)
    .returning(*COLUMNS),
    Cart,
)
REVOKE_LINK = Query(update(cart).values(link_expires_at=null()).where(_OF))

_TRY = upsert(claim_try).from_select(
    ["subject", "tries", "window_ends_at"],
    select(_SUBJECTS.c.subject, 1, bindparam("until", type_=_TIME)).order_by(_SUBJECTS.c.subject),
)
_OVER = claim_try.c.window_ends_at <= _NOW
COUNT_TRY = Query(
    _TRY.on_conflict_do_update(
        index_elements=["subject"],
        set_={
            "tries": case((_OVER, 1), else_=claim_try.c.tries + 1),
            "window_ends_at": case(
                (_OVER, _TRY.excluded.window_ends_at), else_=claim_try.c.window_ends_at
            ),
        },
    ).returning(claim_try.c.tries, claim_try.c.window_ends_at),
    _Tried,
)
GIVE_TRY_BACK = Query(
    update(claim_try)
    .values(tries=func.greatest(claim_try.c.tries - 1, 0))
    .where(claim_try.c.subject == any_(bindparam("subjects", type_=ARRAY(Text()))))
)
FORGET_TRIES = Query(
    delete(claim_try).where(claim_try.c.window_ends_at < bindparam("before", type_=_TIME))
)


async def make_code(
    conn: Connection, cart_id: UUID, owner: Owner, *, secret: bytes, now: datetime
) -> ClaimCode:
    """A code for this cart; one that was made before is dead. Raises NotFound, CartOrdered."""
    await lock_live(conn, cart_id, owner, now=now)
    code = "".join(secrets.choice(ids.ALPHABET) for _ in range(CODE_LENGTH))
    until = now + CODE_LIFETIME
    await conn.run(KEEP_CODE, of=cart_id, digest=_digest(secret, code), until=until)
    return ClaimCode(code, until)


async def claim(
    conn: Connection, who: Principal, *, code: str, location_id: UUID, secret: bytes, now: datetime
) -> Cart | CodeRefused:
    """The cart whose code this is, which those who work at this store may now read and change.

    A wrong code is *returned*, not raised, because its try must be committed; forged, used up, too
    old or another's, the answer is the same. A cart that another store had goes over to this one.
    Raises TooManyTries.
    """
    subjects = sorted([f"key:{who.key_id}", who.actor])
    tried = await conn.run(COUNT_TRY, subject=subjects, until=now + TRIES_WINDOW, now=now)
    beyond = [each.window_ends_at for each in tried if each.tries > MAX_TRIES]
    if beyond:
        wait = (max(beyond) - now).total_seconds()
        raise TooManyTries(retry_after_seconds=int(wait) + 1)
    claimed = await conn.first(
        CLAIM, digest=_digest(secret, ids.normal_code(code)), by=who.actor, at=location_id,
        until=now + CLAIM_LIFETIME, now=now,
    )  # fmt: skip
    if claimed is None:
        return CodeRefused()
    await conn.run(GIVE_TRY_BACK, subjects=subjects)
    await on_record(conn, who, claimed.id, "cart.claimed", {}, now)
    payload = {"revision": claimed.revision}
    fact = Event("cart.claimed", "cart", claimed.id, who.actor, payload, location_id)
    await events.record(conn, [fact], now=now)
    return claimed


async def release(
    conn: Connection, cart_id: UUID, owner: Owner, *, actor: str, now: datetime
) -> Cart:
    """End the claim, by the shopper or by the store. It has none: nothing changes.

    The cart stays as it is, also in checkout; so does a payment link. Raises NotFound, CartOrdered.
    """
    before = await lock_live(conn, cart_id, owner, now=now)
    if not before.claimed(now):
        return before
    after = await conn.one(RELEASE, of=cart_id, now=now)
    side = "associate" if owner.store_ids else "shopper"
    await events.record(conn, [released(before, actor, side)], now=now)
    return after


async def claimed_at(conn: Connection, who: Principal, *, now: datetime) -> list[Cart]:
    """The carts that the stores of the asker have claimed, the newest claim first."""
    return await conn.run(CLAIMED_AT, store_ids=list(who.location_ids or ()), now=now)


async def link(
    conn: Connection, who: Principal, cart_id: UUID, owner: Owner, *, now: datetime
) -> Cart:
    """A payment link for a claimed cart; one that lives is answered again. Raises NotFound."""
    found = await lock_live(conn, cart_id, owner, now=now)
    if found.linked(now):
        return found
    await on_record(conn, who, cart_id, "cart.payment_link_made", {}, now)
    return await conn.one(LINK, of=cart_id, until=now + LINK_LIFETIME)


async def revoke_link(
    conn: Connection, who: Principal, cart_id: UUID, owner: Owner, *, now: datetime
) -> None:
    """The link opens nothing any more. Repeating it changes nothing. Raises NotFound."""
    found = await lock_live(conn, cart_id, owner, now=now)
    if found.linked(now):
        await on_record(conn, who, cart_id, "cart.payment_link_revoked", {}, now)
        await conn.run(REVOKE_LINK, of=cart_id)


async def forget_tries(conn: Connection, *, now: datetime) -> None:
    """Drop counts of yesterday."""
    await conn.run(FORGET_TRIES, before=now - timedelta(days=1))


async def on_record(
    conn: Connection, who: Principal, cart_id: UUID, action: str, changes: dict[str, object],
    now: datetime,
) -> None:  # fmt: skip
    """What an associate does to a cart, on the staff record."""
    await access.record_staff(
        conn, who, action=action, subject=f"cart:{cart_id}", changes=changes, now=now
    )


def _digest(secret: bytes, code: str) -> bytes:
    return hmac.digest(secret, b"cart-code\0" + code.encode(), hashlib.sha256)
