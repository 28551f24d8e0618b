"""A small documented file of each kind, for people who prepare their own."""

from datetime import UTC, datetime

from commerce.importing.fields import Field, layout
from commerce.importing.records import (
    AssociateRecord,
    CouponRecord,
    Kind,
    LocationRecord,
    PriceRecord,
    PriceZoneRecord,
    Record,
    SkuRecord,
    StockRecord,
    StoreRecord,
    TaxZoneRecord,
)
from commerce.importing.writing import FileFormat, write

_WEEKDAY = ("09:00-14:00", "16:00-20:00")

_EXAMPLES: dict[Kind, list[Record]] = {
    "locations": [
        LocationRecord(
            code="S1", name="Centro", kind="store", latitude=19.4336, longitude=-99.1331
        ),
        LocationRecord(
            code="DC1", name="Almacén Norte", kind="distribution_centre",
            latitude=20.5888, longitude=-100.3899,
        ),
    ],
    "price_zones": [
        PriceZoneRecord(code="MX", currency="MXN", tax_included=True),
        PriceZoneRecord(code="US", currency="USD", tax_included=False),
    ],
    "tax_zones": [TaxZoneRecord(code="MX-16", rate_bp=1600)],
    "stores": [
        StoreRecord(
            location_code="S1", name="Mostrador Centro", street="Av. Madero 1",
            city="Ciudad de México", region="CDMX", postal_code="06000", country="MX",
            phone="+525555550101", time_zone="America/Mexico_City", price_zone="MX",
            tax_zone="MX-16", pickup_lead_minutes=60, mon=_WEEKDAY, tue=_WEEKDAY, wed=_WEEKDAY,
            thu=_WEEKDAY, fri=_WEEKDAY, sat=("10:00-15:00",),
        ),
    ],
    "skus": [
        SkuRecord(
            sku="T100-M", item_code="T100", item_name="Playera", department="Ropa",
            description="Algodón peinado", brand="Casa", variant_name="M",
            options={"size": "M"}, gtin="2000000000015",
        ),
        SkuRecord(
            sku="T100-L", item_code="T100", item_name="Playera", department="Ropa",
            description="Algodón peinado", brand="Casa", variant_name="L",
            options={"size": "L"},
        ),
    ],
    "prices": [
        PriceRecord(price_zone="MX", sku="T100-M", amount_minor=19_900),
        PriceRecord(price_zone="US", sku="T100-M", amount_minor=1_299),
    ],
    "stock": [
        StockRecord(
            location_code="S1", sku="T100-M", action="receive", quantity=24,
            reason="purchase order 118", safety_stock=2,
        ),
        StockRecord(
            location_code="S1", sku="T100-L", action="adjust", quantity=-1, reason="damaged"
        ),
        StockRecord(
            location_code="DC1", sku="T100-M", action="count", quantity=310, reason="stocktake"
        ),
    ],
    "coupons": [
        CouponRecord(code="WELCOME10", kind="percent", percent_bp=1_000),
        CouponRecord(
            code="TAKE100", kind="amount", amount_minor=10_000, currency="MXN",
            minimum_subtotal_minor=50_000, starts_at=datetime(2026, 11, 20, 6, tzinfo=UTC),
            ends_at=datetime(2026, 11, 24, 6, tzinfo=UTC), max_redemptions=500,
        ),
    ],
    "associates": [
        AssociateRecord(
            code="A1", name="Ana Prado", role="manager", store_codes=("S1",), pin="40718"
        ),
    ],
}  # fmt: skip


def example(kind: Kind, file_format: FileFormat) -> str:
    """A file of this kind that can be loaded as it is; its comments say what each field must be."""
    of = layout(kind)
    comments = [
        f"{kind}: {' '.join((of.record.__doc__ or '').split())}",
        *(f"  {f.name}{_need(f)}: {f.description}" for f in of.fields.values()),
    ]
    body = b"".join(write(kind, _EXAMPLES[kind], file_format)).decode()
    return "".join(f"# {comment}\n" for comment in comments) + body


def _need(field: Field) -> str:
    if field.required:
        return ""
    if isinstance(field.default, bool | int):
        return f" (optional, else {str(field.default).lower()})"
    return " (optional)"
