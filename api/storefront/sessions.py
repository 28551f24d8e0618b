"""Shoppers sign in by a code that is sent to them, see their profile, and sign out."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, post

from api.auth import may
from api.contract import no_key_needed, raises
from api.problem_json import Language
from api.refusals import RateLimited
from api.services import Services
from api.words import Locale
from commerce import access, customers, messages
from commerce.access import Principal
from commerce.customers import CodeRefused, Person, TooManyCodes
from commerce.kernel.errors import InvalidField
from commerce.kernel.sql import Connection

SIGN_INS_PER_MINUTE = 600
"""Of one key. Per recipient the noun has its own, tighter pace."""

Email = Annotated[str, msgspec.Meta(max_length=254, examples=["ana@example.com"])]


class NewSignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to send the code: an email address or an international phone number, not both."""

    email: Email | None = None
    phone: Annotated[str, msgspec.Meta(max_length=32)] | None = None


class SignInView(msgspec.Struct, frozen=True):
    """A code is on its way, whether or not the shopper was known."""

    sign_in_id: UUID
    expires_at: datetime


class NewSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that was received."""

    sign_in_id: UUID
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=16, examples=["042137"])]


class Profile(msgspec.Struct, frozen=True):
    """The signed-in shopper."""

    id: UUID
    email: str | None
    phone: str | None
    name: str | None
    locale: Locale

    @classmethod
    def of(cls, person: Person) -> "Profile":
        """As its owner sees it."""
        return cls(person.id, person.email, person.phone, person.name, person.locale)


class SessionView(msgspec.Struct, frozen=True):
    """A session; send its secret as `Authorization: Bearer`. It is shown only here."""

    id: UUID
    secret: Annotated[str, msgspec.Meta(examples=["ss_3v9..."])]
    expires_at: datetime
    shopper: Profile


@post(
    "/v1/sign-ins",
    guards=[may("session.start")],
    status_code=202,
    opt=raises(InvalidField, TooManyCodes),
)
@no_key_needed("each call is another code")
async def start_sign_in(
    *,
    data: NewSignIn,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    language: Language,
) -> SignInView:
    """Send a sign-in code by mail or SMS. Says nothing about whether the shopper exists."""
    allowance = services.limiter.take(f"sign_in:{who.key_id}", SIGN_INS_PER_MINUTE)
    if not allowance.allowed:
        raise RateLimited(retry_after_seconds=allowance.reset_seconds)
    started = await messages.start_sign_in(
        conn,
        who,
        secret=services.secret,
        email=data.email,
        phone=data.phone,
        locale=language,
        now=now,
    )
    return SignInView(started.id, started.expires_at)


@post("/v1/sessions", guards=[may("session.start")], opt=raises(CodeRefused))
@no_key_needed("a code is good for one session")
async def start_shopper_session(
    data: NewSession,
    who: Principal,
    services: Services,
    now: datetime,
    language: Language,
) -> SessionView:
    """Trade the code for a session. The first sign-in makes the shopper's profile."""
    started, person = await customers.finish_sign_in(
        services.database,
        who,
        data.sign_in_id,
        secret=services.secret,
        code=data.code,
        locale=language,
        now=now,
    )
    return SessionView(started.id, started.secret, started.expires_at, Profile.of(person))


@get("/v1/profile", guards=[may("profile.read_own")])
async def read_profile(who: Principal, reading: Connection) -> Profile:
    """The signed-in shopper's own data."""
    assert who.shopper_id is not None
    return Profile.of(await customers.person_of(reading, who.shopper_id))


@delete("/v1/sessions/current", guards=[may("session.end")])
async def end_session(who: Principal, services: Services, now: datetime) -> None:
    """Sign out, a shopper or an associate. The session's secret opens nothing any more."""

    async def work(conn: Connection) -> None:
        await access.end_session(conn, who, now=now)

    await services.commit(work)
    if who.session_id is not None:
        services.keyring.forget(who.session_id)


ROUTES = [start_sign_in, start_shopper_session, read_profile, end_session]
