"""Where the demo retailer is: real cities, invented shops in them."""

from collections.abc import Iterator

from msgspec import Struct

from commerce.importing import LocationRecord, PriceZoneRecord, StoreRecord, TaxZoneRecord

DISTRIBUTION_CENTRE = LocationRecord(
    code="QRO-DC", name="Centro de distribución Querétaro", kind="distribution_centre",
    latitude=20.6597, longitude=-100.4408,
)  # fmt: skip

PRICE_ZONES = (
    PriceZoneRecord(code="MX", currency="MXN", tax_included=True),
    PriceZoneRecord(code="US", currency="USD", tax_included=False),
)

# Along the northern border Mexico taxes at half. New York's 8.875 % is rounded to a basis point.
TAX_ZONES = (
    TaxZoneRecord(code="MX-16", rate_bp=1600),
    TaxZoneRecord(code="MX-BORDER", rate_bp=800),
    TaxZoneRecord(code="US-TX", rate_bp=825),
    TaxZoneRecord(code="US-CA-LA", rate_bp=950),
    TaxZoneRecord(code="US-CA-SD", rate_bp=775),
    TaxZoneRecord(code="US-NY", rate_bp=888),
)


class Place(Struct, frozen=True):
    """A store; its `carries` says which share of the goods the shelves have room for, in percent.

    `hours` are Monday to Friday, Saturday, Sunday.
    """

    code: str
    name: str
    street: str
    city: str
    region: str
    postal_code: str
    phone: str
    time_zone: str
    tax_zone: str
    latitude: float
    longitude: float
    carries: int
    hours: tuple[str, str, str] = ("10:00-21:00", "10:00-21:00", "11:00-20:00")
    pickup_enabled: bool = True
    pickup_lead_minutes: int = 60

    @property
    def country(self) -> str:
        """Each price zone is one country."""
        return self.tax_zone[:2]


# San Antonio does not offer pickup, Mérida closes over lunch, Coyoacán is closed on Sundays.
PLACES = (
    Place("CDMX-CENTRO", "Mostrador Centro", "Av. Francisco I. Madero 187", "Ciudad de México",
          "CDMX", "06000", "+525555550101", "America/Mexico_City", "MX-16", 19.4336, -99.1386, 96),
    Place("CDMX-SUR", "Mostrador Coyoacán", "Av. Miguel Ángel de Quevedo 948", "Ciudad de México",
          "CDMX", "04000", "+525555550102", "America/Mexico_City", "MX-16", 19.3467, -99.1617, 60,
          hours=("10:00-20:00", "10:00-20:00", "")),
    Place("GDL", "Mostrador Guadalajara", "Av. Chapultepec Sur 412", "Guadalajara",
          "Jalisco", "44140", "+523355550103", "America/Mexico_City", "MX-16", 20.6713, -103.3686,
          82),
    Place("MTY", "Mostrador Monterrey", "Av. Benito Juárez 1630 Sur", "Monterrey",
          "Nuevo León", "64000", "+528155550104", "America/Monterrey", "MX-16", 25.6655, -100.3099,
          94),
    Place("TIJ", "Mostrador Tijuana", "Av. Revolución 2215", "Tijuana",
          "Baja California", "22000", "+526645550105", "America/Tijuana", "MX-BORDER", 32.5270,
          -117.0375, 78),
    Place("MID", "Mostrador Mérida", "Calle 60 núm. 733", "Mérida",
          "Yucatán", "97000", "+529995550106", "America/Merida", "MX-16", 20.9754, -89.6169, 64,
          hours=("09:00-14:00;16:00-21:00", "09:00-21:00", "10:00-15:00")),
    Place("CUN", "Mostrador Cancún", "Av. Tulum 318", "Cancún",
          "Quintana Roo", "77500", "+529985550107", "America/Cancun", "MX-16", 21.1619, -86.8275,
          70, pickup_lead_minutes=90),
    Place("AUS", "Mostrador Austin", "1844 South Congress Avenue", "Austin",
          "TX", "78704", "+15125550108", "America/Chicago", "US-TX", 30.2482, -97.7501, 80),
    Place("SAT", "Mostrador San Antonio", "967 East Commerce Street", "San Antonio",
          "TX", "78205", "+12105550109", "America/Chicago", "US-TX", 29.4230, -98.4810, 56,
          pickup_enabled=False),
    Place("LAX", "Mostrador Los Angeles", "2719 West Sunset Boulevard", "Los Angeles",
          "CA", "90026", "+12135550110", "America/Los_Angeles", "US-CA-LA", 34.0772, -118.2661, 92),
    Place("SAN", "Mostrador San Diego", "3391 University Avenue", "San Diego",
          "CA", "92104", "+16195550111", "America/Los_Angeles", "US-CA-SD", 32.7485, -117.1204, 66),
    Place("NYC", "Mostrador New York", "1278 Broadway", "New York",
          "NY", "10001", "+12125550112", "America/New_York", "US-NY", 40.7493, -73.9877, 90,
          hours=("09:00-22:00", "09:00-24:00", "10:00-21:00"), pickup_lead_minutes=30),
)  # fmt: skip


def locations() -> Iterator[LocationRecord]:
    """The distribution centre and the stores as places that hold stock."""
    yield DISTRIBUTION_CENTRE
    for place in PLACES:
        yield LocationRecord(
            code=place.code,
            name=place.name,
            kind="store",
            latitude=place.latitude,
            longitude=place.longitude,
        )


def stores() -> Iterator[StoreRecord]:
    """The stores as places to shop."""
    for place in PLACES:
        weekday, saturday, sunday = (tuple(h.split(";")) if h else () for h in place.hours)
        yield StoreRecord(
            location_code=place.code,
            name=place.name,
            street=place.street,
            city=place.city,
            region=place.region,
            postal_code=place.postal_code,
            country=place.country,
            phone=place.phone,
            time_zone=place.time_zone,
            price_zone=place.country,
            tax_zone=place.tax_zone,
            pickup_enabled=place.pickup_enabled,
            pickup_lead_minutes=place.pickup_lead_minutes,
            mon=weekday,
            tue=weekday,
            wed=weekday,
            thu=weekday,
            fri=weekday,
            sat=saturday,
            sun=sunday,
        )
