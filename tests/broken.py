"""Ways to break a shop by hand, and what an audit must then say: row, expected, found.

Names in braces are rows of `tests.everything`, as `rows` calls them.
"""

from typing import Any
from uuid import UUID

import msgspec

from commerce.kernel import ids
from commerce.kernel.sql import Database
from tests.everything import Everything

Expected = tuple[str, str, str]


class Break(msgspec.Struct, frozen=True):
    """Statements that break one thing, and everything that is wrong then, sorted."""

    statements: str
    expected: tuple[Expected, ...]


async def rows(db: Database, shop: Everything) -> dict[str, str]:
    """What the cases below call the rows of a shop."""
    first, second, _ = shop.shop.skus
    here, there = shop.shop.stores
    found: dict[str, object] = {
        "at": here.location_id,
        "there": there.location_id,
        "sku": first.sku,
        "other_sku": second.sku,
        "pickup": shop.requested.fulfillments[0].id,
        "collected": shop.partly_back.fulfillments[0].id,
        "cart": shop.cart_id,
        "dead": shop.dead_demand,
        "basket": shop.basket_id,
        "new": ids.uuid7(),
    }
    named = {
        "requested": shop.requested.id,
        "authorized": shop.authorized,
        "waiting": shop.waiting,
        "cancelled": shop.cancelled,
        "partly": shop.partly_back.id,
    }
    async with db.reading() as conn:
        for name, order_id in named.items():
            found[name] = order_id
            found |= await _of_order(conn.driver, name, order_id)
        for row in await conn.driver.fetch(
            'SELECT state, id FROM "return" WHERE order_id = $1', shop.partly_back.id
        ):
            found[row["state"]] = row["id"]
    return {name: str(value) for name, value in found.items()}


async def _of_order(driver: Any, name: str, order_id: UUID) -> dict[str, object]:
    number = await driver.fetchval("SELECT number FROM orders WHERE id = $1", order_id)
    paid = await driver.fetchrow(
        "SELECT p.id, o.id AS operation FROM payment p"
        " JOIN payment_operation o ON o.payment_id = p.id WHERE p.order_id = $1",
        order_id,
    )
    found = {f"{name}_number": number}
    if paid is not None:
        found |= {f"{name}_payment": paid["id"], f"{name}_operation": paid["operation"]}
    return found


# fmt: off
BREAKS: dict[str, Break] = {
    "goods without an entry": Break(
        "UPDATE stock_level SET on_hand = on_hand + 4 WHERE location_id = '{at}' AND sku = "
        "'{sku}'",
        (
            ("stock level {at} {sku}",
             "on_hand 44, the sum of its ledger",
             "on_hand 48"),
        ),
    ),
    "a reserved counter that drifted": Break(
        "UPDATE stock_level SET reserved = reserved + 1 WHERE location_id = '{at}' AND sku = "
        "'{sku}'",
        (
            ("stock level {at} {sku}",
             "reserved 6, what its living reservations hold",
             "reserved 7, in the ledger 6"),
        ),
    ),
    "a level that is gone": Break(
        "DELETE FROM stock_level WHERE location_id = '{at}' AND sku = '{other_sku}'",
        (
            ("stock level {at} {other_sku}",
             "on_hand 50, the sum of its ledger",
             "on_hand 0"),
            ("stock level {at} {other_sku}",
             "reserved 1, what its living reservations hold",
             "reserved 0, in the ledger 1"),
        ),
    ),
    "a ledger entry that is gone": Break(
        "DELETE FROM stock_ledger WHERE reference = '{pickup}' AND sku = '{sku}'",
        (
            ("reservation {pickup} at {at} of {sku}",
             "2 units reserved in the ledger, because it is committed",
             "0 units"),
            ("stock level {at} {sku}",
             "reserved 6, what its living reservations hold",
             "reserved 6, in the ledger 4"),
        ),
    ),
    "unsellable units without an entry": Break(
        "UPDATE unsellable_stock SET quantity = 2 WHERE location_id = '{there}'",
        (
            ("unsellable stock {there} {sku} damaged",
             "1 units, the sum of its ledger",
             "2 units"),
        ),
    ),
    "a dead hold that came back": Break(
        "UPDATE reservation SET state = 'held' WHERE demand_id = '{dead}'",
        (
            ("reservation {dead} at {at} of {other_sku}",
             "2 units reserved in the ledger, because it is held",
             "0 units"),
            ("stock level {at} {other_sku}",
             "reserved 3, what its living reservations hold",
             "reserved 1, in the ledger 1"),
        ),
    ),
    "goods that left without an entry": Break(
        "UPDATE reservation SET state = 'fulfilled' WHERE demand_id = '{pickup}' AND sku = "
        "'{sku}'",
        (
            ("demand {pickup} at {at} of {sku}",
             "0 units of its reservations left, which were handed over",
             "2"),
            ("demand {pickup} at {at} of {sku}",
             "2 units promised, which open pickups of placed orders still owe",
             "0"),
            ("reservation {pickup} at {at} of {sku}",
             "0 units reserved in the ledger, because it is fulfilled",
             "2 units"),
            ("reservation {pickup} at {at} of {sku}",
             "2 units that left by the ledger, because it is fulfilled",
             "0 units"),
            ("stock level {at} {sku}",
             "reserved 4, what its living reservations hold",
             "reserved 6, in the ledger 6"),
        ),
    ),
    "more promised than there is, in silence": Break(
        "UPDATE stock_level SET on_hand = 0 WHERE location_id = '{at}' AND sku = '{other_sku}'; "
        "INSERT INTO stock_ledger (id, at, location_id, sku, kind, on_hand_delta, "
        "reserved_delta, actor) VALUES ('{new}', now(), '{at}', '{other_sku}', 'count', -50, 0, "
        "'test')",
        (
            ("stock level {at} {other_sku}",
             "a stock.shortfall event, because more is promised than is there",
             "reserved 1 of 0 on hand, and no such event"),
        ),
    ),
    "an order that is placed and never was": Break(
        "UPDATE orders SET placed_at = NULL WHERE id = '{requested}'",
        (
            ("order {requested_number} ({requested})",
             "its fulfillment {pickup} not requested, as it was placed or not",
             "requested_at 2026-11-20 16:00:00+00:00"),
            ("order {requested_number} ({requested})",
             "placed_at set, because it is placed",
             "None"),
            ("order.placed of order {requested}",
             "recorded 0 times",
             "1 times"),
        ),
    ),
    "a pickup that ended without an end": Break(
        "UPDATE fulfillment SET closed_at = NULL WHERE order_id = '{partly}'",
        (
            ("order {partly_number} ({partly})",
             "its fulfillment {collected} closed, because that is collected",
             "closed_at None"),
        ),
    ),
    "an order that costs more than its lines": Break(
        "UPDATE orders SET subtotal_minor = subtotal_minor + 1, total_minor = total_minor + 1 "
        "WHERE id = '{requested}'",
        (
            ("order {requested_number} ({requested})",
             "subtotal_minor 31000",
             "subtotal_minor 31001"),
            ("order {requested_number} ({requested})",
             "total_minor 27900",
             "total_minor 27901"),
        ),
    ),
    "a line that costs more than its units": Break(
        "UPDATE order_line SET units = '[[2, 0, 0]]' WHERE order_id = '{partly}'",
        (
            ("order {partly_number} ({partly})",
             "captured_minor 20000, the price of what was handed over",
             "captured_minor 30000"),
            ("order {partly_number} ({partly}) line 1",
             "tax of units 4138",
             "tax of units 0"),
            ("order {partly_number} ({partly}) line 1",
             "units 3",
             "units 2"),
        ),
    ),
    "a completed order that is open": Break(
        "UPDATE orders SET closed_at = NULL WHERE id = '{partly}'",
        (
            ("order {partly_number} ({partly})",
             "closed_at set, because it is completed",
             "None"),
        ),
    ),
    "a pickup that the order forgot": Break(
        "UPDATE fulfillment SET state = 'cancelled', closed_at = now() WHERE id = '{pickup}'",
        (
            ("demand {pickup} at {at} of {other_sku}",
             "0 units promised, which open pickups of placed orders still owe",
             "1"),
            ("demand {pickup} at {at} of {sku}",
             "0 units promised, which open pickups of placed orders still owe",
             "2"),
            ("order {requested_number} ({requested})",
             ("its fulfillment {pickup} collected or picking or ready or requested,"
              " because it is placed"),
             "cancelled"),
        ),
    ),
    "units handed over before their pickup": Break(
        "UPDATE order_line SET fulfilled_quantity = 1 WHERE order_id = '{requested}' AND "
        "line_number = 2",
        (
            ("demand {pickup} at {at} of {other_sku}",
             "0 units promised, which open pickups of placed orders still owe",
             "1"),
            ("demand {pickup} at {at} of {other_sku}",
             "1 units of its reservations left, which were handed over",
             "0"),
            ("order {requested_number} ({requested}) line 2",
             "no unit handed over, because its fulfillment is requested",
             "0 cancelled and 1 handed over of 1"),
        ),
    ),
    "a line of another order's pickup": Break(
        "UPDATE order_line SET fulfillment_id = '{new}' WHERE order_id = '{requested}' AND "
        "line_number = 2",
        (
            ("demand {pickup} at {at} of {other_sku}",
             "0 units promised, which open pickups of placed orders still owe",
             "1"),
            ("order {requested_number} ({requested}) line 2",
             "a fulfillment of this order",
             "fulfillment {new}"),
        ),
    ),
    "a placed order whose card agreed to less": Break(
        "UPDATE payment SET authorized_minor = 9999 WHERE order_id = '{authorized}'",
        (
            ("order {authorized_number} ({authorized})",
             "a card authorized for 10000, because it is placed",
             "authorized_minor 9999"),
        ),
    ),
    "a capture that took less than the price": Break(
        "WITH p AS (UPDATE payment SET captured_minor = 29999 WHERE order_id = '{partly}' "
        "RETURNING id) UPDATE payment_operation o SET amount_minor = 29999 FROM p WHERE "
        "o.payment_id = p.id AND o.kind = 'capture'",
        (
            ("order {partly_number} ({partly})",
             "captured_minor 30000, the price of what was handed over",
             "captured_minor 29999"),
        ),
    ),
    "a number that no operation explains": Break(
        "UPDATE payment SET captured_minor = 29999 WHERE order_id = '{partly}'",
        (
            ("cash payment {partly_payment} of order {partly_number}",
             "captured_minor 30000, what its capture took",
             "captured_minor 29999"),
            ("order {partly_number} ({partly})",
             "captured_minor 30000, the price of what was handed over",
             "captured_minor 29999"),
        ),
    ),
    "a refund that never was": Break(
        "UPDATE payment SET refunded_minor = refunded_minor - 1 WHERE order_id = '{partly}'",
        (
            ("cash payment {partly_payment} of order {partly_number}",
             "refunded_minor 10000, the sum of its refunds",
             "refunded_minor 9999"),
        ),
    ),
    "more refunds than were captured": Break(
        "INSERT INTO payment_operation (id, payment_id, kind, state, amount_minor, actor, "
        "next_attempt_at, created_at, updated_at) SELECT '{new}', id, 'refund', 'pending', "
        "20001, 'test', now(), now(), now() FROM payment WHERE order_id = '{partly}'",
        (
            ("cash payment {partly_payment} of order {partly_number}",
             "refunds of at most 30000, which was captured",
             "10000 refunded and 20001 on its way"),
        ),
    ),
    "a payment in another currency": Break(
        "UPDATE payment SET currency = 'USD' WHERE order_id = '{authorized}'",
        (
            ("card payment {authorized_payment} of order {authorized_number}",
             "currency MXN, its order's",
             "USD"),
        ),
    ),
    "an operation that nobody goes on with": Break(
        "UPDATE payment_operation SET next_attempt_at = NULL WHERE payment_id = "
        "'{waiting_payment}'",
        (
            (("authorize {waiting_operation} of card payment {waiting_payment}"
              " of order {waiting_number}"),
             "a time to go on with it, because it is pending",
             "next_attempt_at None"),
        ),
    ),
    "money held for a cancelled order": Break(
        "UPDATE payment SET state = 'authorized' WHERE order_id = '{cancelled}'",
        (
            ("card payment {cancelled_payment} of order {cancelled_number}",
             "a void under way, because its order is cancelled",
             "state authorized, and nothing under way"),
        ),
    ),
    "a captured payment that says it is not": Break(
        "UPDATE payment SET state = 'voided' WHERE order_id = '{partly}'",
        (
            ("cash payment {partly_payment} of order {partly_number}",
             "captured money if and only if it is captured",
             "state voided, captured_minor 30000"),
        ),
    ),
    "a cancelled order that kept the money": Break(
        "WITH p AS (UPDATE payment SET state = 'captured', captured_minor = authorized_minor "
        "WHERE order_id = '{cancelled}' RETURNING id) INSERT INTO payment_operation (id, "
        "payment_id, kind, state, amount_minor, actor, created_at, updated_at) SELECT '{new}', "
        "id, 'capture', 'succeeded', 10000, 'test', now(), now() FROM p",
        (
            ("order {cancelled_number} ({cancelled})",
             "10000 given back or on its way, because it was cancelled",
             "0"),
        ),
    ),
    "a return whose refund bounced": Break(
        "UPDATE payment_operation SET state = 'failed' WHERE return_id = '{settled}'; UPDATE "
        "payment SET refunded_minor = 0 WHERE order_id = '{partly}'",
        (
            ("return {settled}",
             "refunds of 10000, made or on their way, because it is settled",
             "0"),
        ),
    ),
    "a return that is worth more than its lines": Break(
        "UPDATE \"return\" SET refund_minor = refund_minor + 1 WHERE id = '{settled}'",
        (
            ("return {settled}",
             "refund_minor 10000, the sum of its lines",
             "refund_minor 10001"),
            ("return {settled}",
             "refunds of 10001, made or on their way, because it is settled",
             "10000"),
        ),
    ),
    "a return line worth more than was paid": Break(
        "UPDATE return_line SET refund_minor = refund_minor + 1 WHERE return_id = '{settled}'",
        (
            ("order {partly_number} line 1",
             "refunds worth 10000, what was paid for the units that came back",
             "10001"),
            ("return {settled}",
             "refund_minor 10001, the sum of its lines",
             "refund_minor 10000"),
        ),
    ),
    "units without a disposition": Break(
        "DELETE FROM return_unit WHERE return_id = '{settled}'",
        (
            ("return {settled} line 1",
             "1 units with a disposition",
             "0, and 1 received, in state settled"),
        ),
    ),
    "units that came back twice": Break(
        "UPDATE order_line SET returned_quantity = 2 WHERE order_id = '{partly}'",
        (
            ("order {partly_number} line 1",
             "returned_quantity 1, what its returns received",
             "returned_quantity 2"),
        ),
    ),
    "more asked for than is left": Break(
        "UPDATE return_line SET quantity = 3 WHERE return_id = '{approved}'",
        (
            ("order {partly_number} line 1",
             "at most 3 units to come back, which were handed over",
             "1 came and 3 are asked for"),
        ),
    ),
    "a promise that nobody holds": Break(
        "UPDATE fulfillment SET demand_id = '{new}' WHERE id = '{pickup}'",
        (
            ("demand {new} at {at} of {other_sku}",
             "1 units promised, which open pickups of placed orders still owe",
             "0"),
            ("demand {new} at {at} of {sku}",
             "2 units promised, which open pickups of placed orders still owe",
             "0"),
            ("demand {pickup} at {at} of {other_sku}",
             "0 units promised, which open pickups of placed orders still owe",
             "1"),
            ("demand {pickup} at {at} of {sku}",
             "0 units promised, which open pickups of placed orders still owe",
             "2"),
        ),
    ),
    "goods kept for a cancelled order": Break(
        "UPDATE orders SET state = 'cancelled', closed_at = now() WHERE id = '{requested}'",
        (
            ("demand {pickup} at {at} of {other_sku}",
             "0 units promised, which open pickups of placed orders still owe",
             "1"),
            ("demand {pickup} at {at} of {sku}",
             "0 units promised, which open pickups of placed orders still owe",
             "2"),
            ("order {requested_number} ({requested})",
             "its fulfillment {pickup} cancelled or expired, because it is cancelled",
             "requested"),
            ("order {requested_number} ({requested}) line 1",
             "each unit cancelled, because its order is",
             "0 cancelled and 0 handed over of 2"),
            ("order {requested_number} ({requested}) line 2",
             "each unit cancelled, because its order is",
             "0 cancelled and 0 handed over of 1"),
            ("order.cancelled of order {requested}",
             "recorded 1 times",
             "0 times"),
        ),
    ),
    "an order that nobody was told of": Break(
        "DELETE FROM event WHERE type = 'order.placed' AND aggregate_id = '{requested}'",
        (
            ("order.placed of order {requested}",
             "recorded 1 times",
             "0 times"),
        ),
    ),
    "an event told twice": Break(
        "INSERT INTO event (id, type, version, aggregate, aggregate_id, actor, payload, at) "
        "SELECT '{new}', type, version, aggregate, aggregate_id, actor, payload, at FROM event "
        "WHERE type = 'order.completed' AND aggregate_id = '{partly}'",
        (
            ("order.completed of order {partly}",
             "recorded 1 times",
             "2 times"),
        ),
    ),
    "a fault that was kept as an answer": Break(
        "INSERT INTO idempotency_key (principal_id, route, key, body_hash, status, answer, "
        "created_at) VALUES ('{new}', 'POST /v1/orders', 'k', '\\x00', 500, '\\x00', now())",
        (
            ("idempotency key of POST /v1/orders for None",
             "a status from 200 to 499 and the hash of a body",
             "status 500"),
        ),
    ),
    "a shopper merged by nobody": Break(
        "INSERT INTO shopper (id, loyalty_code, created_at, merged_into) "
        "VALUES ('{requested}', 'A', now(), NULL), ('{new}', 'B', now(), '{requested}')",
        (
            ("shopper {new}",
             "merged into nobody",
             "merged into {requested}"),
        ),
    ),
    "a merge whose shopper does not point": Break(
        "WITH two AS (INSERT INTO shopper (id, loyalty_code, created_at) VALUES "
        "('{requested}', 'A', now()), ('{new}', 'B', now())) "
        "INSERT INTO shopper_merge (id, source_id, target_id, merged_at, merged_by) "
        "VALUES ('{new}', '{new}', '{requested}', now(), 'test')",
        (
            ("shopper {new}",
             "merged into {requested}",
             "merged into nobody"),
        ),
    ),
    "a sold basket without its sale": Break(
        "UPDATE basket SET order_id = '{requested}' WHERE id = '{basket}'",
        (
            ("basket {basket}",
             "order {requested} completed, because it was sold over the counter",
             "placed"),
        ),
    ),
}
# fmt: on
