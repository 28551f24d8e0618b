"""What is held about the person who paid: the card, as the provider told it to us."""

from uuid import UUID

from sqlalchemy import null, or_, select, update

from commerce.kernel.holdings import Holding, document
from commerce.kernel.sql import Query
from commerce.orders.personal import OF_PERSON
from commerce.tables import payment, payment_operation

CARD = ("payment_method", "return_url", "redirect_url", "card_last4", "card_fingerprint")

_OURS = payment.c.order_id.in_(OF_PERSON)
_OPERATION = payment_operation.c.payment_id.in_(select(payment.c.id).where(_OURS))
HOLDINGS = (
    Holding(
        table="payment",
        export=Query(
            select(document(payment, without=["card_fingerprint", "payment_method"])).where(_OURS),
            str,
        ),
        erase=Query(
            update(payment)
            .where(_OURS, or_(*(payment.c[name].is_not(None) for name in CARD)))
            .values(**dict.fromkeys(CARD, null()))
            .returning(payment.c.id),
            UUID,
        ),
        waits=True,
        stays="Amounts, states and the provider's ids: the books, and what a refund needs.",
    ),
    Holding(
        table="payment_operation",
        export=Query(
            select(document(payment_operation, without=["payment_method"])).where(_OPERATION), str
        ),
        erase=Query(
            update(payment_operation)
            .where(_OPERATION, payment_operation.c.payment_method.is_not(None))
            .values(payment_method=null())
            .returning(payment_operation.c.id),
            UUID,
        ),
        waits=True,
        stays="Amounts, states and the provider's ids: the books.",
    ),
)
