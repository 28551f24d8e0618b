"""Every field of the 360 view has a purpose and says what it needs; what is withheld is gone."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from commerce.clienteling import FIELDS, Portrait, ViewPurpose, fields
from commerce.clienteling.portrait import InHand, ProfileSeen
from commerce.consents import Consents, Decided, Purpose
from commerce.kernel import ids
from commerce.kernel.money import Money
from tests.shop import OPENED_AT

PURPOSES: tuple[ViewPurpose, ...] = get_args(ViewPurpose)


class Field(msgspec.Struct, frozen=True):
    """A field of the portrait: where it stands, and whether it can be taken out alone."""

    path: str
    optional: bool
    in_list: bool


def structs(annotation: Any) -> Iterator[tuple[type[msgspec.Struct], bool]]:
    """The Structs within an annotation, and whether they are elements of a list."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        if annotation is not Money:
            yield annotation, False
    elif get_origin(annotation) in {list, tuple}:
        yield from ((found, True) for part in get_args(annotation) for found, _ in structs(part))
    elif get_origin(annotation) in {Union, UnionType}:
        for part in get_args(annotation):
            yield from structs(part)


def fields_of(of: type[msgspec.Struct], path: str = "", *, in_list: bool = False) -> list[Field]:
    """Every field of a Struct, and of the Structs in it."""
    found = []
    for name, annotation in get_type_hints(of).items():
        if name not in of.__struct_fields__:
            continue
        here = f"{path}.{name}" if path else name
        found.append(Field(here, type(None) in get_args(annotation), in_list))
        for inner, listed in structs(annotation):
            found += fields_of(inner, here, in_list=in_list or listed)
    return found


def allowing(*purposes: Purpose) -> Consents:
    """Consents that grant these."""
    return Consents(
        tuple(
            Decided(ids.uuid7(), each, None, granted=True, source="profile", actor="test",
                    at=OPENED_AT)
            for each in purposes
        )
    )  # fmt: skip


ALL = allowing("personal_service", "browsing_insight")


def test_every_field_has_a_rule_and_every_rule_a_field() -> None:
    assert {each.path for each in fields_of(Portrait)} == FIELDS.keys()
    assert len(FIELDS) > 100


def test_every_field_is_for_some_purpose_and_none_for_all_without_consent() -> None:
    for path, rule in FIELDS.items():
        assert rule.purposes, path
        assert rule.purposes <= set(PURPOSES), path
        assert rule.needs != "contract" or path.partition(".")[0] == "in_hand", path


def test_what_has_a_rule_of_its_own_can_be_taken_out_alone() -> None:
    found = {each.path: each for each in fields_of(Portrait)}
    for path, field in found.items():
        around = path.rpartition(".")[0]
        if not around or FIELDS[path] != FIELDS[around]:
            assert field.optional, path
            assert not field.in_list, path


@pytest.mark.parametrize("purpose", PURPOSES)
def test_what_is_withheld_is_named_once_at_its_outermost(purpose: ViewPurpose) -> None:
    for granted in (Consents(), allowing("personal_service"), allowing("browsing_insight"), ALL):
        hidden = {each.field for each in fields.withheld(purpose, granted)}
        for path in FIELDS:
            inside = any(path == each or path.startswith(f"{each}.") for each in hidden)
            assert inside == (fields.refusal(path, purpose, granted) is not None), path
        assert not any(one.startswith(f"{other}.") for one in hidden for other in hidden)


def test_messages_allowed_allow_nobody_to_look() -> None:
    written = Consents(
        (Decided(ids.uuid7(), "marketing", "email", granted=True, source="profile", actor="test",
                 at=OPENED_AT),)
    )  # fmt: skip
    for purpose in PURPOSES:
        assert fields.withheld(purpose, written) == fields.withheld(purpose, Consents())


def test_cutting_leaves_nothing_of_what_is_withheld() -> None:
    whole = Portrait(
        in_hand=InHand(order=None, pickups=[], returns=[], carts=[]),
        profile=ProfileSeen("Ana", "ana@example.com", "+525512345678", "es", "X", OPENED_AT),
        sizes={"shoes": "38"},
    )
    cut = fields.cut(whole, fields.withheld("serve_in_store", ALL))
    assert cut.profile == ProfileSeen("Ana", None, None, "es", "X", OPENED_AT)
    assert (cut.sizes, cut.in_hand) == (whole.sizes, whole.in_hand)
    nothing = fields.cut(whole, fields.withheld("follow_up", Consents()))
    assert nothing == Portrait()
