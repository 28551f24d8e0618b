"""The shopper's own profile: what they tell, how they are reached, and the code for the counter."""

from datetime import datetime
from io import BytesIO
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, patch, post
from msgspec import UNSET, UnsetType

from api.auth import may
from api.contract import no_key_needed, raises
from api.problem_json import Language
from api.services import Services
from api.storefront.sessions import Code, Email, Phone, limit_sign_ins
from api.words import Locale
from commerce import customers, messages
from commerce.access import Principal
from commerce.customers import (
    AddressTaken,
    CodeRefused,
    Person,
    ProfileChanges,
    TooManyCodes,
)
from commerce.kernel.errors import InvalidField, NotFound
from commerce.kernel.sql import Connection

Size = Annotated[str, msgspec.Meta(min_length=1, max_length=16, examples=["M"])]
Preference = Annotated[str, msgspec.Meta(min_length=1, max_length=200, examples=["linen"])]
OfSize = Size | None | UnsetType
OfPreference = Preference | None | UnsetType


class Sizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sizes as the shopper calls them. Null takes one back; what is absent stays as it is."""

    tops: OfSize = UNSET
    bottoms: OfSize = UNSET
    dresses: OfSize = UNSET
    outerwear: OfSize = UNSET
    shoes: OfSize = UNSET
    hats: OfSize = UNSET
    gloves: OfSize = UNSET
    rings: OfSize = UNSET


class Preferences(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the shopper likes, in their words. Null takes one back; what is absent stays."""

    fit: OfPreference = UNSET
    colors: OfPreference = UNSET
    materials: OfPreference = UNSET
    brands: OfPreference = UNSET
    occasions: OfPreference = UNSET
    avoid: OfPreference = UNSET


class ProfileEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be different; what is absent stays as it is.

    `other_loyalty_code`: of a card that the shopper holds beside this profile's, from another one.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120)] | None = None
    locale: Annotated[customers.Locale, msgspec.Meta(examples=["es"])] | None = None
    time_zone: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["America/Mexico_City"])]
        | None
    ) = None
    other_loyalty_code: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=32, examples=["7K3M9-QX2T4"])] | None
    ) = None
    sizes: Sizes = Sizes()
    preferences: Preferences = Preferences()


class ProfileMerge(msgspec.Struct, frozen=True):
    """Two profiles that a store took for the same person's, and when, if ever, it was undone."""

    merge_id: UUID
    profile_id: UUID
    into_profile_id: UUID
    merged_at: datetime
    undone_at: datetime | None


class Profile(msgspec.Struct, frozen=True):
    """The signed-in shopper. `email` and `phone` are where we write; each of the others signs in.

    `ids`: every id that things of this shopper stand under, this profile's first.
    """

    id: UUID
    ids: list[UUID]
    name: str | None
    email: str | None
    phone: str | None
    emails: list[str]
    phones: list[str]
    locale: Locale
    time_zone: str | None
    loyalty_code: Annotated[str, msgspec.Meta(examples=["7K3M9QX2T4"])]
    sizes: dict[str, str]
    preferences: dict[str, str]
    merges: list[ProfileMerge]
    created_at: datetime


class NewAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An email address or an international phone number to be reached at, not both."""

    email: Email | None = None
    phone: Phone | None = None


class AddressChange(msgspec.Struct, frozen=True):
    """A code is on its way there."""

    address_change_id: UUID
    expires_at: datetime


class AddressCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that was received."""

    code: Code


class ProfileCodeView(msgspec.Struct, frozen=True):
    """What the shopper shows at the counter, as text and as a QR code (an SVG image)."""

    code: Annotated[str, msgspec.Meta(examples=["AGIKXVXPAAAH..."])]
    expires_at: datetime
    svg: Annotated[str, msgspec.Meta(examples=['<svg xmlns="http://www.w3.org/2000/svg">...'])]


@get("/v1/profile", guards=[may("profile.read_own")], opt=raises())
async def read_profile(who: Principal, reading: Connection) -> Profile:
    """All that the signed-in shopper has told, and whether profiles were merged."""
    assert who.shopper_id is not None
    return await _profile(reading, await customers.person_of(reading, who.shopper_id))


@patch("/v1/profile", guards=[may("profile.write_own")], opt=raises(InvalidField, NotFound))
async def change_profile(
    data: ProfileEdit, who: Principal, services: Services, now: datetime
) -> Profile:
    """Change what is named. Repeating it changes nothing more."""
    changes = msgspec.convert(msgspec.to_builtins(data), ProfileChanges)

    async def work(conn: Connection) -> Profile:
        assert who.shopper_id is not None
        changed = await customers.change_profile(conn, who, who.shopper_id, changes, now=now)
        return await _profile(conn, changed)

    return await services.commit(work)


@post(
    "/v1/profile/addresses",
    guards=[may("profile.write_own")],
    status_code=202,
    opt=raises(InvalidField, TooManyCodes),
)
@no_key_needed("each call is another code")
async def start_address_change(
    *,
    data: NewAddress,
    conn: Connection,
    who: Principal,
    services: Services,
    now: datetime,
    language: Language,
) -> AddressChange:
    """Send a code to another address or number, which becomes the shopper's once it is told."""
    limit_sign_ins(services, who)
    started = await messages.start_sign_in(
        conn,
        who,
        secret=services.secret,
        email=data.email,
        phone=data.phone,
        locale=language,
        shopper_id=who.shopper_id,
        now=now,
    )
    return AddressChange(started.id, started.expires_at)


@post(
    "/v1/profile/addresses/{address_change_id:uuid}/confirm",
    guards=[may("profile.write_own")],
    status_code=200,
    opt=raises(CodeRefused, AddressTaken, NotFound),
)
@no_key_needed("a code is good for one change")
async def confirm_address(
    address_change_id: UUID,
    data: AddressCode,
    who: Principal,
    services: Services,
    now: datetime,
) -> Profile:
    """Tell the code; the address replaces the profile's own of its kind.

    An address that signs somebody else in is refused: whether the two are one person, a store
    decides.
    """
    changed = await messages.finish_address(
        services.database,
        who,
        address_change_id,
        secret=services.secret,
        code=data.code,
        now=now,
    )
    async with services.database.reading() as conn:
        return await _profile(conn, changed)


@get("/v1/profile/code", guards=[may("profile.read_own")], opt=raises())
async def read_profile_code(who: Principal, services: Services, now: datetime) -> ProfileCodeView:
    """A code that finds this profile for three minutes; an associate's tablet scans it."""
    import segno  # only who shows a code pays for it

    assert who.shopper_id is not None
    code = customers.profile_code(services.secret, who.shopper_id, now=now)
    image = BytesIO()
    segno.make_qr(code.text, error="m").save(image, kind="svg", xmldecl=False, scale=4)
    return ProfileCodeView(code.text, code.expires_at, image.getvalue().decode().strip())


async def _profile(conn: Connection, person: Person) -> Profile:
    merges = await customers.merges_of(conn, person.ids)
    return Profile(
        id=person.id,
        ids=list(person.ids),
        name=person.name,
        email=person.email,
        phone=person.phone,
        emails=person.emails,
        phones=person.phones,
        locale=person.locale,
        time_zone=person.time_zone,
        loyalty_code=person.loyalty_code,
        sizes=person.sizes,
        preferences=person.preferences,
        merges=[
            ProfileMerge(each.id, each.source_id, each.target_id, each.merged_at, each.undone_at)
            for each in merges
        ],
        created_at=min(row.created_at for row in person.rows),
    )


ROUTES = [
    read_profile,
    change_profile,
    start_address_change,
    confirm_address,
    read_profile_code,
]
