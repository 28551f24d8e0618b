"""The closed sets of words in answers, as the database knows them: generated clients name them."""

from collections.abc import Iterable
from typing import Annotated, get_args

from msgspec import Meta

from commerce import customers, states
from commerce.access import Role
from commerce.tables.sales import CHANNELS, FULFILLMENT_KINDS, TENDERS
from inventory.tables import LEDGER_KINDS, LOCATION_KINDS


def _one_of(words: Iterable[str]) -> Meta:
    return Meta(extra_json_schema={"enum": list(words)})


OrderState = Annotated[str, _one_of(states.ORDER)]
PaymentState = Annotated[str, _one_of(states.PAYMENT)]
FulfillmentState = Annotated[str, _one_of(states.FULFILLMENT_STATES)]
FulfillmentKind = Annotated[str, _one_of(FULFILLMENT_KINDS)]
BasketState = Annotated[str, _one_of(states.BASKET)]
Channel = Annotated[str, _one_of(CHANNELS)]
PaidBy = Annotated[str, _one_of(TENDERS)]
StaffRole = Annotated[str, _one_of(get_args(Role))]
Tender = Annotated[str, _one_of((*TENDERS, "pay_at_pickup"))]
LocationKind = Annotated[str, _one_of(LOCATION_KINDS)]
Locale = Annotated[str, _one_of(get_args(customers.Locale))]
LedgerKind = Annotated[str, _one_of(LEDGER_KINDS)]
