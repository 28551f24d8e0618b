"""What is held about the person of a cart: whose it is, and no more. Goods name nobody."""

from uuid import UUID

from sqlalchemy import null, select, update

from commerce.kernel.holdings import SHOPPER_IDS, Holding, document
from commerce.kernel.sql import Query
from commerce.tables import cart

_OURS = (cart.c.shopper_id.is_not(None), cart.c.shopper_id == SHOPPER_IDS)
HOLDINGS = (
    Holding(
        table="cart",
        export=Query(select(document(cart, without=["key_id", "code_digest"])).where(*_OURS), str),
        erase=Query(
            update(cart).where(*_OURS).values(shopper_id=null()).returning(cart.c.id), UUID
        ),
        stays="The goods in it, which are nobody's any more.",
    ),
)
