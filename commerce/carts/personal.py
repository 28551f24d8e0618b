"""What is held about the person of a cart: whose it is, and no more. Goods name nobody.

The id stays, so that no token that was out before the cart was the person's opens it again.
"""

from uuid import UUID

from sqlalchemy import null, or_, select, update

from commerce.kernel.holdings import SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Query
from commerce.tables import cart

_OURS = (cart.c.shopper_id.is_not(None), cart.c.shopper_id == SHOPPER_IDS)
_OPENS = ("code_digest", "code_expires_at", "claim_expires_at", "link_expires_at")
HOLDINGS = (
    Holding(
        table="cart",
        export=Query(select(document(cart, without=["key_id", "code_digest"])).where(*_OURS), str),
        erase=Query(
            update(cart)
            .where(*_OURS, or_(*(cart.c[name].is_not(None) for name in _OPENS)))
            .values(**dict.fromkeys(_OPENS, null()))
            .returning(cart.c.id),
            UUID,
        ),
        stays="The id and the goods in it. Nobody opens it: no code, no claim, no link.",
    ),
)
