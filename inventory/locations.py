"""Places that hold stock, and which of them are nearest to a point."""

from collections.abc import Sequence
from math import asin, cos, dist, radians, sin
from typing import Protocol, TypeAlias
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Double, Integer, Text, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from commerce.kernel import ids
from commerce.kernel.errors import NotFound
from commerce.kernel.sql import Connection, Query, rows_of
from commerce.kernel.upserts import merge
from inventory.tables import location

EARTH_RADIUS_KM = 6371.0088
"""The mean radius of the IUGG; a sphere of it is off by at most 0.6 %."""


class Place(Protocol):
    """What makes a location, its id apart."""

    @property
    def code(self) -> str:
        """Its own short name, unique and lasting."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def kind(self) -> str:
        """One of `inventory.tables.LOCATION_KINDS`."""

    @property
    def latitude(self) -> float:
        """Degrees."""

    @property
    def longitude(self) -> float:
        """Degrees."""


class Location(Struct, frozen=True):
    """A place that holds stock."""

    id: UUID
    code: str
    name: str
    kind: str
    latitude: float
    longitude: float


Point: TypeAlias = tuple[float, float, float]
"""A place on the unit sphere: comparing distances takes no trigonometric function."""


_NEW = rows_of(
    "n",
    id=Uuid(),
    code=Text(),
    name=Text(),
    kind=Text(),
    latitude=Double(),
    longitude=Double(),
)
MERGE_LOCATIONS = Query(
    merge(location, _NEW, key=["code"], keep=["id"], returning=[location.c.id]), UUID
)
LOCATIONS_BY_CODE = Query(
    select(location).where(location.c.code == any_(bindparam("codes", type_=ARRAY(Text)))),
    Location,
)

LOCATIONS_BY_ID = Query(
    select(location).where(location.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))), Location
)
PAGE_OF_LOCATIONS = Query(
    select(location)
    .where(location.c.code > bindparam("after", type_=Text()))
    .order_by(location.c.code)
    .limit(bindparam("page", type_=Integer())),
    Location,
)


async def upsert(conn: Connection, places: Sequence[Place]) -> None:
    """Create locations or change them, found again by code. Repeating it is harmless.

    The last of several places with one code wins.
    """
    last = list({place.code: place for place in places}.values())
    await conn.run(
        MERGE_LOCATIONS,
        id=[ids.uuid7() for _ in last],
        code=[place.code for place in last],
        name=[place.name for place in last],
        kind=[place.kind for place in last],
        latitude=[place.latitude for place in last],
        longitude=[place.longitude for place in last],
    )


async def by_code(conn: Connection, codes: Sequence[str]) -> dict[str, Location]:
    """Those of the codes that exist."""
    found = await conn.run(LOCATIONS_BY_CODE, codes=list(codes))
    return {each.code: each for each in found}


async def page(conn: Connection, *, after: str, limit: int) -> list[Location]:
    """Locations in the order of their codes, beginning behind `after`."""
    return await conn.run(PAGE_OF_LOCATIONS, after=after, page=limit)


async def by_id(conn: Connection, id_: UUID) -> Location:
    """One location. Raises NotFound."""
    found = await conn.first(LOCATIONS_BY_ID, ids=[id_])
    if found is None:
        raise NotFound(kind="location", id=str(id_))
    return found


def point(latitude: float, longitude: float) -> Point:
    """From degrees."""
    phi, theta = radians(latitude), radians(longitude)
    return cos(phi) * cos(theta), cos(phi) * sin(theta), sin(phi)


def distance_km(one: Point, other: Point) -> float:
    """Along a great circle."""
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, dist(one, other) / 2))
