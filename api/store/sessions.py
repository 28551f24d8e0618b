"""Associates sign in at a store's tablet with their code and PIN. They sign out as shoppers do."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post

from api.auth import may
from api.contract import no_key_needed, raises
from api.services import Services
from api.words import StaffRole
from commerce import access
from commerce.access import Principal, SignInRefused, StoreNotAllowed
from commerce.kernel.errors import InvalidField


class AssociateSignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is at the tablet. `location_id` only where the tablet belongs to no store."""

    associate_code: Annotated[str, msgspec.Meta(min_length=1, max_length=40, examples=["ANA"])]
    pin: Annotated[str, msgspec.Meta(min_length=1, max_length=12, examples=["4711"])]
    location_id: UUID | None = None


class AssociateSession(msgspec.Struct, frozen=True):
    """A session; send its secret as `Authorization: Bearer`. It is shown only here."""

    id: UUID
    secret: Annotated[str, msgspec.Meta(examples=["as_8dk..."])]
    expires_at: datetime
    location_id: UUID


class SignedIn(msgspec.Struct, frozen=True):
    """Who is signed in at this tablet, where, and what they may do."""

    associate_id: UUID
    role: StaffRole
    location_id: UUID
    permissions: list[str]


@post(
    "/v1/store/sessions",
    guards=[may("associate_session.start")],
    opt=raises(SignInRefused, StoreNotAllowed, InvalidField),
)
@no_key_needed("each sign-in is another session")
async def start_associate_session(
    data: AssociateSignIn, who: Principal, services: Services, now: datetime
) -> AssociateSession:
    """Sign an associate in for a shift, at one store."""
    own = who.location_ids[0] if who.location_ids else None
    location_id = own or data.location_id
    if location_id is None or data.location_id not in {None, location_id}:
        reason = "Name the store; on a tablet that belongs to one, no other."
        raise InvalidField(path="/location_id", reason=reason)
    started = await access.sign_in(
        services.database,
        who,
        code=data.associate_code,
        pin=data.pin,
        location_id=location_id,
        now=now,
    )
    return AssociateSession(started.id, started.secret, started.expires_at, location_id)


@get("/v1/store/sessions/current", guards=[may("associate_session.read_own")])
async def read_session(who: Principal) -> SignedIn:
    """Who is signed in."""
    assert who.associate_id is not None
    assert who.role is not None
    assert who.location_ids is not None
    return SignedIn(who.associate_id, who.role, who.location_ids[0], sorted(who.permissions))


ROUTES = [start_associate_session, read_session]
