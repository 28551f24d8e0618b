"""Sign-in codes go out as messages: the code stands in its message and nowhere else."""

from datetime import datetime
from uuid import UUID

from commerce import customers
from commerce.access import Principal
from commerce.customers import Locale, StartedSignIn
from commerce.kernel.sql import Connection
from commerce.messages.writing import Address, NewMessage, write


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
        address=Address("email" if email is not None else "sms", started.recipient, locale),
    )
    await write(conn, [new], now)
    return started
