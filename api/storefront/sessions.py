"""Shoppers sign in, by a code that is sent to them or with an external issuer, and sign out."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, post

from api.auth import may
from api.contract import no_key_needed, raises
from api.problem_json import Language
from api.refusals import RateLimited
from api.services import Services
from api.words import Locale
from commerce import access, browsing, carts, customers, messages
from commerce.access import Principal, StartedSession
from commerce.carts import CartOrdered
from commerce.customers import (
    MAX_TOKEN_LENGTH,
    CodeRefused,
    ExternalSignInOff,
    Issuer,
    IssuerUnavailable,
    Person,
    TokenRefused,
    TooManyCodes,
)
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection

SIGN_INS_PER_MINUTE = 600
"""Of one key. Per recipient the noun has its own, tighter pace."""

Email = Annotated[str, msgspec.Meta(max_length=254, examples=["ana@example.com"])]
Phone = Annotated[str, msgspec.Meta(max_length=32)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=16, examples=["042137"])]
CartToken = Annotated[str, msgspec.Meta(max_length=64)]


class NewSignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to send the code: an email address or an international phone number, not both."""

    email: Email | None = None
    phone: Phone | None = None


class SignInView(msgspec.Struct, frozen=True):
    """A code is on its way, whether or not the shopper was known."""

    sign_in_id: UUID
    expires_at: datetime


class Brought(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the shopper did before signing in, and takes along: the device's trail, and a cart."""

    visitor_id: UUID | None = None
    cart_id: UUID | None = None
    cart_token: CartToken | None = None


class NewSession(Brought, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The code that was received."""

    sign_in_id: UUID
    code: Code


class NewExternalSession(Brought, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token of the installation's external issuer, meant for us."""

    token: Annotated[
        str, msgspec.Meta(min_length=1, max_length=MAX_TOKEN_LENGTH, examples=["eyJhbGciOi..."])
    ]


class SignedInView(msgspec.Struct, frozen=True):
    """The signed-in shopper; more of it stands in the profile."""

    id: UUID
    email: str | None
    phone: str | None
    name: str | None
    locale: Locale


class SessionView(msgspec.Struct, frozen=True):
    """A session; send its secret as `Authorization: Bearer`. It is shown only here.

    `cart_id` is the shopper's cart that the cart from before became or became part of; null when
    none was named, or when it could not be taken along because it is ordered or another's.
    """

    id: UUID
    secret: Annotated[str, msgspec.Meta(examples=["ss_3v9..."])]
    expires_at: datetime
    shopper: SignedInView
    cart_id: UUID | None = None


class Joining:
    """Joins to a person what they did before they signed in."""

    def __init__(self, brought: Brought, secret: bytes, now: datetime) -> None:
        self._brought = brought
        self._secret = secret
        self._now = now
        self.cart_id: UUID | None = None

    async def __call__(self, conn: Connection, person: Person) -> None:
        """In the transaction of the sign-in, which a cart that cannot come along does not stop."""
        if self._brought.visitor_id is not None:
            await browsing.link(conn, self._brought.visitor_id, person.ids, now=self._now)
        self.cart_id = None
        if self._brought.cart_id is not None:
            try:
                async with conn.savepoint():
                    self.cart_id = await self._join_cart(conn, self._brought.cart_id, person)
            except (NotFound, CartOrdered):
                return

    async def _join_cart(self, conn: Connection, cart_id: UUID, person: Person) -> UUID:
        owner = carts.owner_of(
            cart_id,
            person_ids=person.ids,
            given_token=self._brought.cart_token,
            secret=self._secret,
        )
        actor = f"shopper:{person.id}"
        merged = await carts.merge_guest(conn, cart_id, owner, actor=actor, now=self._now)
        return merged.cart.id


def issuer(services: Services) -> Issuer:
    """The external issuer, as this process knows its keys: `services.part(issuer)`."""
    of = services.settings
    return Issuer(
        issuer=of.oidc_issuer,
        audience=of.oidc_audience,
        jwks_url=of.oidc_jwks_url,
        now=services.now,
    )


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
    limit_sign_ins(services, who)
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
    """Trade the code for a session. The first sign-in makes the shopper's profile.

    A guest's cart and the device's trail come along if they are named.
    """
    joining = Joining(data, services.secret, now)
    started, person = await customers.finish_sign_in(
        services.database,
        who,
        data.sign_in_id,
        secret=services.secret,
        code=data.code,
        locale=language,
        joining=joining,
        now=now,
    )
    return _view(started, person, joining)


@post(
    "/v1/sessions/external",
    guards=[may("session.start")],
    opt=raises(ExternalSignInOff, TokenRefused, IssuerUnavailable),
)
@no_key_needed("each call is another session")
async def start_external_session(
    data: NewExternalSession,
    who: Principal,
    services: Services,
    now: datetime,
    language: Language,
) -> SessionView:
    """Trade a token of the external issuer (RS256 or ES256) for a session.

    An email address that the issuer has verified joins the shopper who has it; an unverified one
    joins nobody.
    """
    limit_sign_ins(services, who)
    claims = await services.part(issuer).verify(data.token)
    joining = Joining(data, services.secret, now)

    async def work(conn: Connection) -> tuple[StartedSession, Person]:
        return await customers.sign_in_externally(
            conn, who, claims, locale=language, joining=joining, now=now
        )

    started, person = await services.commit(work)
    return _view(started, person, joining)


@delete("/v1/sessions/current", guards=[may("session.end")])
async def end_session(who: Principal, services: Services, now: datetime) -> None:
    """Sign out, a shopper or an associate. The session's secret opens nothing any more."""

    async def work(conn: Connection) -> None:
        await access.end_session(conn, who, now=now)

    await services.commit(work)
    if who.session_id is not None:
        services.keyring.forget(who.session_id)


def limit_sign_ins(services: Services, who: Principal) -> None:
    """A key starts so many sign-ins a minute and no more. Raises RateLimited."""
    allowance = services.limiter.take(f"sign_in:{who.key_id}", SIGN_INS_PER_MINUTE)
    if not allowance.allowed:
        raise RateLimited(retry_after_seconds=allowance.reset_seconds)


def _view(started: StartedSession, person: Person, joined: Joining) -> SessionView:
    shopper = SignedInView(person.id, person.email, person.phone, person.name, person.locale)
    return SessionView(started.id, started.secret, started.expires_at, shopper, joined.cart_id)


ROUTES = [start_sign_in, start_shopper_session, start_external_session, end_session]
