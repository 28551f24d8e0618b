"""What is paid at the counter: money that an associate takes in exchange for goods."""

from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

import msgspec

from commerce import payments
from commerce.kernel import ids
from commerce.kernel.errors import CommerceError, InvalidField
from commerce.kernel.money import Money
from commerce.kernel.sql import Connection


class Cash(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="cash", tag_field="kind"):
    """Notes and coins. `tendered` is what was laid on the counter; the answer names the change."""

    tendered: Money


class ExternalTerminal(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag="external_terminal",
    tag_field="kind",
):
    """A card on a terminal of its own; `reference` is the number on its receipt."""

    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["T1-004711"])]


CounterTender: TypeAlias = Cash | ExternalTerminal


class TenderRequired(CommerceError):
    """Something is due that nothing has paid yet: take cash or a card before the goods go."""

    code = "tender_required"
    due: Money


class TenderedTooLittle(CommerceError):
    """Less cash than is due."""

    code = "tendered_too_little"
    due: Money
    tendered: Money


def check(tender: CounterTender | None, due: Money) -> CounterTender | None:
    """Refuse what does not pay the sum; returns what does, None where nothing is due. Pure.

    Raises TenderRequired, TenderedTooLittle, InvalidField.
    """
    if due.amount_minor == 0:
        if tender is not None:
            raise InvalidField(path="/tender", reason="nothing is due; give the goods without one")
        return None
    if tender is None:
        raise TenderRequired(due=due)
    if isinstance(tender, Cash):
        if tender.tendered.currency != due.currency:
            raise InvalidField(
                path="/tender/tendered/currency", reason=f"this store takes {due.currency}"
            )
        if tender.tendered.amount_minor < due.amount_minor:
            raise TenderedTooLittle(due=due, tendered=tender.tendered)
    return tender


async def take(
    conn: Connection,
    tender: CounterTender,
    *,
    order_id: UUID,
    fulfillment_id: UUID,
    due: Money,
    actor: str,
    now: datetime,
) -> Money:
    """Record a tender that was checked; returns the change to give. The order is locked."""
    cash = isinstance(tender, Cash)
    await payments.take(
        conn,
        payment_id=ids.uuid7(),
        order_id=order_id,
        fulfillment_id=fulfillment_id,
        tender="cash" if cash else "external_terminal",
        amount=due,
        reference=None if isinstance(tender, Cash) else tender.reference,
        actor=actor,
        now=now,
    )
    tendered_minor = tender.tendered.amount_minor if isinstance(tender, Cash) else due.amount_minor
    return Money(tendered_minor - due.amount_minor, due.currency)
