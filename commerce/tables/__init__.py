"""Every table of commerce, one page each.

Goods (what is sold where), carts (what shoppers gather), sales (orders and their money), people
(who buys, serves, and may), privacy (what they allow), browsing (what
they looked at), clienteling (who in the stores looked at whom), outreach (what is written to
shoppers unasked).
Importing this registers them all in `metadata`, with inventory's and the kernel's.
"""

from commerce.kernel.deliveries import delivery
from commerce.kernel.events import event, generation, log_reader
from commerce.kernel.heartbeats import heartbeat
from commerce.kernel.idempotency import idempotency_key
from commerce.kernel.sql import metadata
from commerce.tables.browsing import browsing_choice, browsing_event, browsing_link
from commerce.tables.carts import cart, claim_try, list_line, shopping_list
from commerce.tables.clienteling import (
    shopper_access,
    shopper_candidate,
    shopper_look_up,
    shopper_view,
)
from commerce.tables.goods import (
    coupon,
    item,
    price,
    price_zone,
    refused_stock_line,
    sku,
    stock_file,
    store,
    tax_zone,
)
from commerce.tables.messages import (
    message,
    message_template,
    note,
    preferred_channel,
    push_device,
    stopped_address,
)
from commerce.tables.outreach import (
    answer,
    client_book_entry,
    follow_up,
    follow_up_settings,
    outreach,
    watch,
)
from commerce.tables.people import (
    api_key,
    associate,
    associate_store,
    contact,
    one_time_code,
    rate_window,
    session,
    shopper,
    shopper_duplicate,
    shopper_identity,
    shopper_merge,
    shopper_trait,
    staff_record,
)
from commerce.tables.privacy import consent_decision, erasure, quiet_hours
from commerce.tables.sales import (
    fulfillment,
    installation,
    order_line,
    orders,
    payment,
    payment_operation,
    provider_event,
    return_,
    return_line,
    return_unit,
)

__all__ = [
    "answer",
    "api_key",
    "associate",
    "associate_store",
    "browsing_choice",
    "browsing_event",
    "browsing_link",
    "cart",
    "claim_try",
    "client_book_entry",
    "consent_decision",
    "contact",
    "coupon",
    "delivery",
    "erasure",
    "event",
    "follow_up",
    "follow_up_settings",
    "fulfillment",
    "generation",
    "heartbeat",
    "idempotency_key",
    "installation",
    "item",
    "list_line",
    "log_reader",
    "message",
    "message_template",
    "metadata",
    "note",
    "one_time_code",
    "order_line",
    "orders",
    "outreach",
    "payment",
    "payment_operation",
    "preferred_channel",
    "price",
    "price_zone",
    "provider_event",
    "push_device",
    "quiet_hours",
    "rate_window",
    "refused_stock_line",
    "return_",
    "return_line",
    "return_unit",
    "session",
    "shopper",
    "shopper_access",
    "shopper_candidate",
    "shopper_duplicate",
    "shopper_identity",
    "shopper_look_up",
    "shopper_merge",
    "shopper_trait",
    "shopper_view",
    "shopping_list",
    "sku",
    "staff_record",
    "stock_file",
    "stopped_address",
    "store",
    "tax_zone",
    "watch",
]
