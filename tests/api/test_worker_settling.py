"""The actor of payments goes on with sagas whose process has died, long before their lease ends."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from api.actors import deliver, settle_payments
from api.work import Work
from commerce.kernel.sql import Database
from commerce.stripe_gateway import StripeGateway
from tests.background import work_of
from tests.shop import Shop, make_shop
from tests.simulation import story
from tests.simulation.story import Moment
from tests.stripe_server import WEBHOOK_SECRET, FakeStripeServer, free_port


@pytest.fixture
def stripe(tmp_path: Path) -> Iterator[FakeStripeServer]:
    with FakeStripeServer(tmp_path, free_port()) as running:
        yield running


@pytest.fixture
async def work(own_dsn: str, stripe: FakeStripeServer) -> AsyncIterator[Work]:
    database = await Database.open(own_dsn)
    gateway = StripeGateway(
        api_key="sk_test_ours", api_base=stripe.url, webhook_secret=WEBHOOK_SECRET
    )
    yield msgspec.structs.replace(work_of(database, now=Moment()), gateway=gateway)
    await gateway.close()
    await database.close()


@pytest.fixture
async def shop(work: Work) -> Shop:
    return await make_shop(work.database, stores=1, skus=1)


async def tell(work: Work, order_id: UUID, kind: str) -> None:
    rows = await work.database.pool.fetch(
        "SELECT id FROM event WHERE aggregate_id = $1 AND type = $2", order_id, kind
    )
    await deliver(work, settle_payments, [row["id"] for row in rows])


async def test_a_payment_that_nobody_carried_out_is_carried_out_once(
    work: Work, shop: Shop, stripe: FakeStripeServer
) -> None:
    order_id = await story.place(work.database, shop, now=work.now())
    await tell(work, order_id, "order.payment_requested")
    paid = await story.standing(work.database, order_id)
    assert paid.order.head.state == "placed"
    assert paid.calls == [("authorize", "succeeded")]
    await tell(work, order_id, "order.payment_requested")
    assert await story.standing(work.database, order_id) == paid

    await story.cancel(work.database, order_id, now=work.now())
    await tell(work, order_id, "order.cancelled")
    voided = await story.standing(work.database, order_id)
    assert voided.calls == [("authorize", "succeeded"), ("void", "succeeded")]
    intents = stripe.http.get("/v1/payment_intents").json()["data"]
    assert [(each["status"], each["amount"]) for each in intents] == [("canceled", 10_000)]


async def test_a_payment_that_somebody_is_at_is_left_alone(
    work: Work, shop: Shop, stripe: FakeStripeServer
) -> None:
    order_id = await story.place(work.database, shop, now=work.now())
    claimed = await work.database.pool.execute(
        "UPDATE payment_operation SET attempts = 1 WHERE payment_id IN"
        " (SELECT id FROM payment WHERE order_id = $1)",
        order_id,
    )
    assert claimed == "UPDATE 1"
    await tell(work, order_id, "order.payment_requested")
    assert (await story.standing(work.database, order_id)).calls == [("authorize", "pending")]
    assert stripe.http.get("/v1/payment_intents").json()["data"] == []
