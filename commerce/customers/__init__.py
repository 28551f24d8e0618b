"""Shoppers: signing in, the persons that they are, and the contacts of orders.

Personal data stands in these tables and in the messages; everything else names the person by id.
"""

from commerce.customers.addresses import normal_email, normal_phone
from commerce.customers.contacts import Contact, add_contacts, contacts_by_ids
from commerce.customers.persons import (
    Locale,
    Person,
    Shopper,
    person_of,
    persons_of,
    put_shopper,
    shopper_by_id,
)
from commerce.customers.sign_in import (
    CODE_LIFETIME,
    CODE_PAUSE,
    CODE_TRIES,
    CODES_PER_HOUR,
    CodeRefused,
    StartedSignIn,
    TooManyCodes,
    finish_sign_in,
    forget_codes,
    start_sign_in,
)

__all__ = [
    "CODES_PER_HOUR",
    "CODE_LIFETIME",
    "CODE_PAUSE",
    "CODE_TRIES",
    "CodeRefused",
    "Contact",
    "Locale",
    "Person",
    "Shopper",
    "StartedSignIn",
    "TooManyCodes",
    "add_contacts",
    "contacts_by_ids",
    "finish_sign_in",
    "forget_codes",
    "normal_email",
    "normal_phone",
    "person_of",
    "persons_of",
    "put_shopper",
    "shopper_by_id",
    "start_sign_in",
]
