"""The one form of a mail address and of a phone number, however somebody typed them."""

from functools import lru_cache

from commerce.kernel.errors import InvalidField


def normal_email(text: str) -> str:
    """The one form of a mail address: lower case. Raises `InvalidField` for what is none."""
    address = text.strip().lower()
    name, at, domain = address.rpartition("@")
    if not (at and name and "." in domain.strip(".")) or len(address.split()) != 1:
        raise InvalidField(path="/email", reason="This is not an email address.")
    return address


@lru_cache(maxsize=10_000)
def normal_phone(text: str) -> str:
    """The E.164 form of an international phone number (+52 55 1234 5678). Raises `InvalidField`."""
    import phonenumbers  # 23 MB and 0.1 s: only who reads a phone number pays for it

    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        reason = "This is not an international phone number, such as +525512345678."
        raise InvalidField(path="/phone", reason=reason)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
