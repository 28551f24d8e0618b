"""Codes go out as messages: a code stands in its message and nowhere else.

A message with a code is nobody's, since whoever tells the code back may be somebody new; it is
found by its address. That of a shopper who changes the address is theirs from the beginning.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, Uuid, any_, bindparam, update
from sqlalchemy.dialects.postgresql import ARRAY

from commerce import customers
from commerce.access import Principal
from commerce.customers import Locale, Person, StartedSignIn
from commerce.kernel.sql import Connection, Database, Query
from commerce.messages.writing import Address, NewMessage, write
from commerce.tables import message

KEEP_WITH_PERSON = Query(
    update(message)
    .where(
        message.c.recipient == any_(bindparam("addresses", type_=ARRAY(Text()))),
        message.c.shopper_id.is_(None),
        message.c.contact_id.is_(None),
    )
    .values(shopper_id=bindparam("whose", type_=Uuid()))
)


async def start_sign_in(
    conn: Connection,
    who: Principal,
    *,
    secret: bytes,
    email: str | None,
    phone: str | None,
    locale: Locale,
    now: datetime,
    shopper_id: UUID | None = None,
) -> StartedSignIn:
    """Make a code and write the message that carries it (see `customers.start_sign_in`)."""
    started = await customers.start_sign_in(
        conn, who, secret=secret, email=email, phone=phone, now=now, shopper_id=shopper_id
    )
    new = NewMessage(
        template="sign_in_code" if shopper_id is None else "address_code",
        parameters={"code": started.code},
        reason=started.id,
        shopper_id=shopper_id,
        address=Address("email" if email is not None else "sms", started.recipient, locale),
    )
    await write(conn, [new], now)
    return started


async def finish_address(
    db: Database, who: Principal, change_id: UUID, *, secret: bytes, code: str, now: datetime
) -> Person:
    """Tell the code of another address (see `customers.finish_address`).

    What went to the address that it replaces is kept with the person, who would not be found by it
    any more.
    """

    async def keep(conn: Connection, person: Person, left: Sequence[str]) -> None:
        await conn.run(KEEP_WITH_PERSON, addresses=list(left), whose=person.id)

    return await customers.finish_address(
        db, who, change_id, secret=secret, code=code, leaving=keep, now=now
    )
