"""Who may do what, written down once more by hand, and compared with guards and with answers."""

import pytest

from api.middleware import Edge
from api.services import Services
from commerce.access import permissions_of
from tests.everyone import HOLDERS, PRINCIPALS, headers_of
from tests.operations import Operation, operations
from tests.shop import make_shop
from tests.wire import send

WHO_MAY_WHAT = """
n s h i t a m b   nobody, storefront key, shopper with it, integration key,
                  tablet key, associate with it, manager with it, back-office key

x x x x x x x x  GET    /
x x x x x x x x  GET    /docs
x x x x x x x x  GET    /health
x x x x x x x x  GET    /metrics
x x x x x x x x  GET    /openapi.json
x x x x x x x x  GET    /preferences/{token}
x x x x x x x x  POST   /preferences/{token}
x x x x x x x x  GET    /unsubscribe/{token}
x x x x x x x x  POST   /unsubscribe/{token}
. x x x . x x x  GET    /v1/availability
. x x x . x x x  POST   /v1/availability
. . . . . . . x  GET    /v1/backoffice/answers
. . . . . . . x  GET    /v1/backoffice/associates
. . . . . . . x  PUT    /v1/backoffice/associates/{code}
. . . . . . . x  GET    /v1/backoffice/coupons
. . . . . . . x  PUT    /v1/backoffice/coupons/{code}
. . . . . . . x  GET    /v1/backoffice/dead-messages
. . . . . . . x  POST   /v1/backoffice/dead-messages/retry
. . . . . . . x  GET    /v1/backoffice/follow-ups
. . . . . . . x  PUT    /v1/backoffice/follow-ups/{trigger}
. . . . . . x x  GET    /v1/backoffice/duplicates
. . . . . . x x  PUT    /v1/backoffice/duplicates/{duplicate_id}/dismissal
. . . . . . . x  GET    /v1/backoffice/erasures
. . . . . . . x  GET    /v1/backoffice/erasures/{erasure_id}
. . . . . . . x  GET    /v1/backoffice/feed
. . . . . . x x  POST   /v1/backoffice/import/{kind}
. . . . . . x x  GET    /v1/backoffice/import/{kind}/example
. . . . . . . x  GET    /v1/backoffice/keys
. . . . . . . x  POST   /v1/backoffice/keys
. . . . . . . x  POST   /v1/backoffice/keys/{key_id}/revoke
. . . . . . . x  POST   /v1/backoffice/keys/{key_id}/rotate
. . . . . . . x  GET    /v1/backoffice/locations
. . . . . . . x  PUT    /v1/backoffice/locations/{code}
. . . . . . x x  GET    /v1/backoffice/merges
. . . . . . x x  POST   /v1/backoffice/merges
. . . . . . x x  GET    /v1/backoffice/merges/preview
. . . . . . x x  POST   /v1/backoffice/merges/{merge_id}/undo
. . . . . . . x  GET    /v1/backoffice/message-templates
. . . . . . . x  DELETE /v1/backoffice/message-templates/{template}/{channel}/{locale}
. . . . . . . x  PUT    /v1/backoffice/message-templates/{template}/{channel}/{locale}
. . . . . . . x  POST   /v1/backoffice/message-templates/{template}/{channel}/{locale}/preview
. . . . . . . x  GET    /v1/backoffice/messages
. . . . . . . x  GET    /v1/backoffice/price-zones
. . . . . . . x  PUT    /v1/backoffice/price-zones/{code}
. . . . . . . x  GET    /v1/backoffice/quiet-hours
. . . . . . . x  PUT    /v1/backoffice/quiet-hours
. . . . . . . x  GET    /v1/backoffice/shopper-look-ups
. . . . . . . x  GET    /v1/backoffice/shopper-views
. . . . . . . x  POST   /v1/backoffice/shoppers/{shopper_id}/erasures
. . . . . . . x  GET    /v1/backoffice/shoppers/{shopper_id}/export
. . . . . . . x  GET    /v1/backoffice/skus/{sku}
. . . . . . . x  PUT    /v1/backoffice/skus/{sku}
. . . . . . . x  GET    /v1/backoffice/skus/{sku}/prices
. . . . . . . x  PUT    /v1/backoffice/skus/{sku}/prices/{price_zone}
. . . . . . . x  GET    /v1/backoffice/staff-record
. . . . . x x x  GET    /v1/backoffice/stock/{location_id}/{sku}
. . . . . x x x  GET    /v1/backoffice/stock/{location_id}/{sku}/ledger
. . . . . . x x  POST   /v1/backoffice/stock/{location_id}/{sku}/movements
. . . . . . x x  PUT    /v1/backoffice/stock/{location_id}/{sku}/safety-stock
. . . . . . . x  POST   /v1/backoffice/stopped-addresses/lift
. . . . . . . x  GET    /v1/backoffice/stores
. . . . . . . x  GET    /v1/backoffice/stores/{code}
. . . . . . . x  PUT    /v1/backoffice/stores/{code}
. . . . . . . x  GET    /v1/backoffice/tax-zones
. . . . . . . x  PUT    /v1/backoffice/tax-zones/{code}
. x x x . . . x  POST   /v1/browsing-events
. . x . . . . .  GET    /v1/carts
. x x x . . . x  POST   /v1/carts
. x x x . . . x  GET    /v1/carts/{cart_id}
. x x x . . . x  DELETE /v1/carts/{cart_id}/checkout
. x x x . . . x  PUT    /v1/carts/{cart_id}/checkout
. x x x . . . x  DELETE /v1/carts/{cart_id}/claim
. x x x . . . x  POST   /v1/carts/{cart_id}/code
. x x x . . . x  DELETE /v1/carts/{cart_id}/coupon
. x x x . . . x  PUT    /v1/carts/{cart_id}/coupon
. x x x . . . x  GET    /v1/carts/{cart_id}/feed
. x x x . . . x  PUT    /v1/carts/{cart_id}/lines/{sku}
. x x x . . . x  PUT    /v1/carts/{cart_id}/order
. . x . . . . .  PUT    /v1/carts/{cart_id}/saved/{sku}
. . x . . . . .  PUT    /v1/carts/{cart_id}/shopper
. x x x . . . x  PUT    /v1/carts/{cart_id}/store
. x x x . x x x  GET    /v1/gtins/{gtin}
. x x x . x x x  GET    /v1/items
. x x x . x x x  GET    /v1/items/{code}
. . x . . . . .  GET    /v1/lists
. . x . . . . .  POST   /v1/lists
. . x . . . . .  DELETE /v1/lists/{list_id}
. . x . . . . .  PATCH  /v1/lists/{list_id}
. . x . . . . .  PUT    /v1/lists/{list_id}/lines/{sku}
. . x . . . . .  POST   /v1/lists/{list_id}/lines/{sku}/to-cart
. . x . . . . .  DELETE /v1/lists/{list_id}/share
. . x . . . . .  PUT    /v1/lists/{list_id}/share
. . . . . x x x  GET    /v1/locations/{location_id}/stock/{sku}
. . x . . . . .  GET    /v1/orders
. x x x . . . x  POST   /v1/orders
. x x x . x x x  GET    /v1/orders/{order_id}
. x x x . x x x  POST   /v1/orders/{order_id}/cancel
. x x x . x x x  GET    /v1/orders/{order_id}/feed
. x x x . . . x  POST   /v1/orders/{order_id}/payments
. x x x . . . x  POST   /v1/orders/{order_id}/payments/refresh
. . x . . . . .  GET    /v1/orders/{order_id}/returnable
. . x . . . . .  POST   /v1/orders/{order_id}/returns
. . x . . . . .  DELETE /v1/profile
. . x . . . . .  GET    /v1/profile
. . x . . . . .  PATCH  /v1/profile
. . x . . . . .  POST   /v1/profile/addresses
. . x . . . . .  POST   /v1/profile/addresses/{address_change_id}/confirm
. . x . . . . .  DELETE /v1/profile/browsing
. . x . . . . .  GET    /v1/profile/browsing
. . x . . . . .  PUT    /v1/profile/browsing
. . x . . . . .  GET    /v1/profile/code
. . x . . . . .  GET    /v1/profile/consents
. . x . . . . .  PUT    /v1/profile/consents
. . x . . . . .  GET    /v1/profile/consents/history
. . x . . . . .  DELETE /v1/profile/devices/{device_id}
. . x . . . . .  PUT    /v1/profile/devices/{device_id}
. . x . . . . .  GET    /v1/profile/messages
. . x . . . . .  GET    /v1/profile/questions
. . x . . . . .  PUT    /v1/profile/questions/{question_id}/answer
. . x . . . . .  GET    /v1/profile/export
. . x . . . . .  GET    /v1/profile/views
. . x . . . . .  GET    /v1/profile/watches
. . x . . . . .  DELETE /v1/profile/watches/{sku}/{location_id}
. . x . . . . .  PUT    /v1/profile/watches/{sku}/{location_id}
. . x . . . . .  GET    /v1/returns/{return_id}
. . x . . . . .  POST   /v1/returns/{return_id}/cancel
. x x x . . . x  POST   /v1/sessions
. . x . . x x .  DELETE /v1/sessions/current
. x x x . . . x  POST   /v1/sessions/external
. x x x . x x x  GET    /v1/shared-lists/{list_id}
. x x x . . . x  POST   /v1/sign-ins
. x x x . x x x  GET    /v1/skus/{sku}
. . . . . x x x  POST   /v1/store/baskets
. . . . . x x x  DELETE /v1/store/baskets/{basket_id}
. . . . . x x x  GET    /v1/store/baskets/{basket_id}
. . . . . x x x  POST   /v1/store/baskets/{basket_id}/hold-again
. . . . . x x x  POST   /v1/store/baskets/{basket_id}/lines
. . . . . x x x  DELETE /v1/store/baskets/{basket_id}/lines/{line_number}
. . . . . x x x  POST   /v1/store/baskets/{basket_id}/sell
. . . . . x x .  POST   /v1/store/cart-claims
. . . . . x x .  GET    /v1/store/carts
. . . . . x x .  GET    /v1/store/carts/{cart_id}
. . . . . x x .  PUT    /v1/store/carts/{cart_id}/checkout
. . . . . x x .  DELETE /v1/store/carts/{cart_id}/claim
. . . . . x x .  DELETE /v1/store/carts/{cart_id}/coupon
. . . . . x x .  PUT    /v1/store/carts/{cart_id}/coupon
. . . . . x x .  GET    /v1/store/carts/{cart_id}/feed
. . . . . x x .  PUT    /v1/store/carts/{cart_id}/lines/{sku}
. . . . . x x .  DELETE /v1/store/carts/{cart_id}/payment-link
. . . . . x x .  POST   /v1/store/carts/{cart_id}/payment-link
. . . . . x x .  POST   /v1/store/carts/{cart_id}/sell
. . . . . x x .  PUT    /v1/store/carts/{cart_id}/store
. . . . . x x .  GET    /v1/store/client-book
. . . . . x x .  DELETE /v1/store/client-book/{entry_id}
. . . . . x x .  POST   /v1/store/client-book/{entry_id}/outreach
. . . . . . x x  GET    /v1/store/clients
. . . . . . x x  PUT    /v1/store/clients/{entry_id}/associate
. . . . . x x x  GET    /v1/store/feed
. . . . . x x x  POST   /v1/store/orders/{order_id}/pay-due
. . . x . x x x  GET    /v1/store/orders/{order_number}
. . . . . x x x  GET    /v1/store/orders/{order_number}/returnable
. . . . . x x .  GET    /v1/store/outreach
. . . . . x x .  PUT    /v1/store/outreach/{outreach_id}/outcome
. . . . . x x x  GET    /v1/store/payments-due
. . . . . x x x  GET    /v1/store/pickups
. . . . . x x x  GET    /v1/store/pickups/{pickup_id}
. . . x . x x x  POST   /v1/store/pickups/{pickup_id}/cancel
. . . . . x x x  POST   /v1/store/pickups/{pickup_id}/hand-over
. . . . . x x x  POST   /v1/store/pickups/{pickup_id}/ready
. . . . . x x x  POST   /v1/store/pickups/{pickup_id}/start
. . . . . x x x  GET    /v1/store/returns
. . . . . x x x  POST   /v1/store/returns
. . . . . x x x  POST   /v1/store/returns/take-back
. . . . . x x x  GET    /v1/store/returns/{return_id}
. . . . . . x x  POST   /v1/store/returns/{return_id}/approve
. . . . . x x x  POST   /v1/store/returns/{return_id}/cancel
. . . . . x x x  POST   /v1/store/returns/{return_id}/receive
. . . . . x x x  POST   /v1/store/returns/{return_id}/refund
. . . . . . x x  POST   /v1/store/returns/{return_id}/reject
. . . . x x x x  POST   /v1/store/sessions
. . . . . x x .  GET    /v1/store/sessions/current
. . . . . x x .  POST   /v1/store/shopper-look-ups
. . . . . x x .  POST   /v1/store/shopper-views
. . . . . x x .  DELETE /v1/store/shopper-views/{view_id}
. . . . . x x .  GET    /v1/store/shopper-views/{view_id}
. . . . . x x .  POST   /v1/store/shopper-views/{view_id}/consents
. . . . . x x .  GET    /v1/store/shopper-views/{view_id}/feed
. . . . . x x .  POST   /v1/store/shopper-views/{view_id}/answers
. . . . . x x .  POST   /v1/store/shopper-views/{view_id}/client-book-entry
. . . . . x x .  POST   /v1/store/shopper-views/{view_id}/notes
. . . . . x x .  GET    /v1/store/shopper-views/{view_id}/timeline
. x x x . x x x  GET    /v1/stores
. x x x . x x x  GET    /v1/stores/{store_id}
x x x x x x x x  POST   /v1/webhooks/messages
x x x x x x x x  POST   /v1/webhooks/stripe
"""

TURNED_AWAY = {"api_key_missing", "session_required", "permission_denied"}


def written() -> dict[str, set[str]]:
    """The table: who may, by operation."""
    _, _, table = WHO_MAY_WHAT.strip().partition("\n\n")
    rows: dict[str, set[str]] = {}
    for line in table.splitlines():
        marks, method, path = line[:15].split(), *line[15:].split()
        assert len(marks) == len(PRINCIPALS), line
        rows[f"{method} {path}"] = {
            who for who, mark in zip(PRINCIPALS, marks, strict=True) if mark == "x"
        }
    return rows


WRITTEN = written()
ENDS = {"erase_profile", "end_session"}
LAST_THE_END = sorted(operations(), key=lambda each: each.described["operationId"] in ENDS)
"""Whoever has signed out is nobody in all that follows."""


@pytest.fixture(scope="module")
async def everyone(services: Services) -> dict[str, dict[str, str]]:
    """What each kind of principal sends."""
    shop = await make_shop(services.database)
    store = shop.stores[0].location_id
    return {who: await headers_of(services, who, store) for who in PRINCIPALS}


def test_every_operation_is_in_the_table() -> None:
    assert WRITTEN.keys() == {str(each) for each in operations()}


@pytest.mark.parametrize("operation", operations(), ids=str)
def test_guards_say_what_the_table_says(operation: Operation) -> None:
    asked = set(operation.described.get("x-permission", ()))
    may = {who for who in PRINCIPALS if not asked or asked & permissions_of(*HOLDERS[who])}
    assert may == WRITTEN[str(operation)]


@pytest.mark.parametrize("operation", LAST_THE_END, ids=str)
async def test_answers_say_what_the_table_says(
    operation: Operation, everyone: dict[str, dict[str, str]], edge: Edge
) -> None:
    let_in = set()
    for who, headers in everyone.items():
        request = operation.example(kind="stock")  # the one kind of file that a manager may load
        answer = await send(edge, *request._replace(headers={**request.headers, **headers}))
        if answer.code not in TURNED_AWAY:
            let_in.add(who)
    assert let_in == WRITTEN[str(operation)]
