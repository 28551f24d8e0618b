"""The database ceilings: `pgbench` with an equal order as one statement, and two durable commits.

The statement writes what one order writes (order, two lines, fulfillment, contact, two
reservations, two levels, two ledger rows, key with answer, two events) into tables of the same
shape, without any decision: an upper bound for one transaction per order.
"""

import re
import subprocess
import tempfile
from statistics import median
from time import perf_counter

import psycopg

from api.postgres import find_programs
from tests.shop import Shop

SECONDS = 6

ORDER_SQL = """\
\\set a random(0, :skus - 1)
\\set b random(0, :skus - 1)
WITH chosen AS (
  SELECT 'SKU' || {a} || '-{tag}' AS sku_a, 'SKU' || {b} || '-{tag}' AS sku_b,
         gen_random_uuid() AS order_id, gen_random_uuid() AS fulfillment_id
), levels AS (
  UPDATE stock_level SET reserved = reserved + 1 FROM chosen
  WHERE location_id = '{location}' AND sku IN (sku_a, sku_b) RETURNING stock_level.sku
), people AS (
  INSERT INTO contact (id, name, email) SELECT gen_random_uuid(), 'Ana Torres', 'ana@example.com'
), o AS (
  INSERT INTO orders (id, number, state, channel, key_id, location_id, currency, tax_included,
    subtotal_minor, discount_minor, tax_minor, total_minor, tender, created_at, placed_at)
  SELECT order_id, order_id::text, 'placed', 'web', order_id, '{location}', 'MXN', true,
    20000, 2000, 2482, 18000, 'pay_at_pickup', now(), now() FROM chosen
), l AS (
  INSERT INTO order_line (order_id, line_number, fulfillment_id, sku, name, quantity,
    unit_price_minor, discount_minor, tax_rate_bp, tax_minor, total_minor, units, final_sale,
    return_window_days)
  SELECT order_id, n, fulfillment_id, sku_a, 'Item', 1, 10000, 1000, 1600, 1241, 9000,
    '[[1, 1000, 1241]]', false, 30 FROM chosen, generate_series(1, 2) AS n
), f AS (
  INSERT INTO fulfillment (id, order_id, location_id, demand_id, kind, state, requested_at)
  SELECT fulfillment_id, order_id, '{location}', fulfillment_id, 'pickup', 'requested', now()
  FROM chosen
), r AS (
  INSERT INTO reservation (demand_id, location_id, sku, quantity, hold_class, state, created_at)
  SELECT fulfillment_id, '{location}', sku, 1, 'order', 'committed', now() FROM chosen, levels
), g AS (
  INSERT INTO stock_ledger (id, at, location_id, sku, kind, on_hand_delta, reserved_delta, actor)
  SELECT gen_random_uuid(), now(), '{location}', sku, 'hold', 0, 1, 'bench' FROM levels
), k AS (
  INSERT INTO idempotency_key (principal_id, route, key, body_hash, status, answer, created_at)
  SELECT order_id, 'POST /v1/orders', order_id::text, '\\x00', 201, {answer}, now() FROM chosen
)
INSERT INTO event (id, type, version, aggregate, aggregate_id, location_id, actor, payload, at)
SELECT gen_random_uuid(), 'order.placed', 1, 'order', order_id, '{location}', 'bench', '{{}}', now()
FROM chosen, generate_series(1, 2);
"""


def orders_per_second(
    dsn: str, shop: Shop, skus: int, *, hot: bool, clients: int
) -> tuple[float, float]:
    """What `pgbench` reaches with one order per transaction, and its mean latency in ms."""
    script = ORDER_SQL.format(
        location=shop.stores[0].location_id,
        tag=shop.tag,
        a="0" if hot else ":a",
        b="1" if hot else ":b",
        answer="convert_to(repeat('x', 900), 'UTF8')",
    )
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        output = subprocess.run(
            [
                str(find_programs() / "pgbench"),
                *("-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(SECONDS)),
                *("-D", f"skus={skus}", "-f", file.name, dsn),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    rate = re.search(r"tps = ([0-9.]+)", output)
    latency = re.search(r"latency average = ([0-9.]+)", output)
    assert rate is not None, output
    assert latency is not None, output
    return float(rate[1]), float(latency[1])


def two_commits_ms(dsn: str) -> float:
    """The median of two durable one-row commits after each other, in milliseconds."""
    taken = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE bench_commit (at timestamptz)")
        for _ in range(300):
            started = perf_counter()
            connection.execute("INSERT INTO bench_commit VALUES (now())")
            connection.execute("INSERT INTO bench_commit VALUES (now())")
            taken.append(perf_counter() - started)
        connection.execute("DROP TABLE bench_commit")
    return 1000 * median(taken)


def settle(dsn: str) -> None:
    """Between measurements: everybody starts after the same checkpoint and vacuum."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
