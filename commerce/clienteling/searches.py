"""What an associate may search by: something that the shopper shows, or tells in full."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec

from commerce import customers
from commerce.kernel import ids
from commerce.kernel.errors import InvalidField

NAME_WORDS = 2
NAME_LETTERS = 5


class ByProfileCode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="profile_code", tag_field="kind"
):
    """By the code that the shopper's app shows, good for a few minutes."""

    profile_code: Annotated[
        str, msgspec.Meta(min_length=1, max_length=100, examples=["AGIKXVXPAAAH2B3C4D5E6F7G"])
    ]


class ByLoyaltyCode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="loyalty_code", tag_field="kind"
):
    """By the code on the shopper's card, scanned or typed."""

    loyalty_code: Annotated[str, msgspec.Meta(min_length=1, max_length=32, examples=["7K3M9QX2T4"])]


class ByPhone(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="phone", tag_field="kind"
):
    """By the whole international phone number."""

    phone: Annotated[str, msgspec.Meta(min_length=1, max_length=32, examples=["+525512345678"])]


class ByEmail(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="email", tag_field="kind"
):
    """By the whole email address."""

    email: Annotated[str, msgspec.Meta(min_length=1, max_length=254, examples=["ana@example.com"])]


class ByName(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="name", tag_field="kind"):
    """By how a name begins: two words at least, accents and capitals do not matter."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, examples=["Ana Torres"])]


class ByOrder(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="order", tag_field="kind"
):
    """By an order of one's own store; by another store's only with the code of its pickup."""

    order_number: Annotated[str, msgspec.Meta(min_length=1, max_length=20, examples=["7K2M9QX"])]
    pickup_code: Annotated[str, msgspec.Meta(min_length=1, max_length=16)] | None = None


LookUpKind: TypeAlias = Literal["profile_code", "loyalty_code", "phone", "email", "name", "order"]
Search: TypeAlias = ByProfileCode | ByLoyaltyCode | ByPhone | ByEmail | ByName | ByOrder


def normal(search: Search, secret: bytes, now: datetime) -> str:
    """What is searched for, in the form in which it is stored. Pure.

    Raises InvalidField, ProfileCodeRefused.
    """
    if isinstance(search, ByProfileCode):
        return str(customers.shopper_of_code(secret, search.profile_code, now=now))
    try:
        if isinstance(search, ByPhone):
            return customers.normal_phone(search.phone)
        if isinstance(search, ByEmail):
            return customers.normal_email(search.email)
    except InvalidField as refused:
        raise InvalidField(path=f"/search{refused.path}", reason=refused.reason) from None
    if isinstance(search, ByLoyaltyCode):
        return ids.normal_code(search.loyalty_code)
    if isinstance(search, ByOrder):
        return ids.normal_code(search.order_number)
    words = search.name.split()
    if len(words) < NAME_WORDS or sum(map(len, words)) < NAME_LETTERS:
        reason = f"Give {NAME_WORDS} words at least, of {NAME_LETTERS} letters together."
        raise InvalidField(path="/search/name", reason=reason)
    return " ".join(words)
