"""Who works and shops at the demo retailer: invented names, addresses and numbers of nobody."""

import itertools
import unicodedata
from collections.abc import Iterator
from random import Random

from msgspec import Struct

from api.demo_retailer.places import PLACES
from commerce.importing import AssociateRecord

SHOPPERS = 30
SPANISH_SPEAKING_SHOPPERS = 18

FIRST_NAMES = (
    "Abril", "Bruno", "Carmen", "Darío", "Elena", "Fabián", "Greta", "Hugo", "Inés", "Joel",
    "Karina", "Leo", "Marisol", "Nadia", "Óscar", "Paula", "Renata", "Saúl", "Tamara", "Ulises",
)  # fmt: skip
LAST_NAMES = (
    "Arroyo", "Brizuela", "Cisneros", "Duarte", "Escalante", "Fresno", "Garmendia", "Huerta",
    "Iriarte", "Jara", "Kuri", "Lozano", "Montaño", "Nava", "Ocampo", "Pizarro",
)  # fmt: skip


class Shopper(Struct, frozen=True, kw_only=True):
    """A person who can sign in: `locale` is es or en."""

    name: str
    email: str
    phone: str
    locale: str


def associates(seed: int) -> Iterator[AssociateRecord]:
    """Two associates and a manager for each store; their PINs begin with the store's number."""
    names = iter(_names(Random(f"{seed} associates"), 3 * len(PLACES)))
    for number, place in enumerate(PLACES, start=1):
        for suffix, pin in (("A", "11"), ("B", "22"), ("M", "99")):
            yield AssociateRecord(
                code=f"{place.code}-{suffix}",
                name=next(names),
                role="manager" if suffix == "M" else "associate",
                store_codes=(place.code,),
                pin=f"{number:02}{pin}",
            )


def shoppers(seed: int = 7) -> Iterator[Shopper]:
    """People of both countries, with addresses at example.com and numbers that nobody has."""
    for number, name in enumerate(_names(Random(f"{seed} shoppers"), SHOPPERS), start=1):
        in_mexico = number <= SPANISH_SPEAKING_SHOPPERS
        yield Shopper(
            name=name,
            email=f"{_ascii(name).lower().replace(' ', '.')}@example.com",
            phone=f"+5255555502{number:02}" if in_mexico else f"+173755501{number:02}",
            locale="es" if in_mexico else "en",
        )


def _names(random: Random, count: int) -> list[str]:
    pairs = list(itertools.product(FIRST_NAMES, LAST_NAMES))
    return [f"{first} {last}" for first, last in random.sample(pairs, count)]


def _ascii(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
