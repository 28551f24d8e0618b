"""Settings: the only place that reads the environment.

Each field of `Settings` is one environment variable, its name in capitals. An empty variable counts
as absent, so that `DATABASE_URL= mostrador run` means the embedded database.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

Port = Annotated[int, Meta(ge=1, le=65_535)]
Url = Annotated[str, Meta(pattern=r"^([a-z][a-z0-9+.]*://.*)?$")]
Seconds = Annotated[float, Meta(gt=0, le=3_600)]


class OperatorError(Exception):
    """The installation cannot do what was asked. The message says what to change."""


class SettingsError(OperatorError):
    """An environment variable has a value that it may not have."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator decides. Without any variable the product runs on its embedded parts."""

    state_dir: Path = Path(".state")
    """Where the embedded database, its log and the sample keys live."""
    host: str = "127.0.0.1"
    port: Port = 8_000
    web_processes: Annotated[int, Meta(ge=1, le=256)] = 1
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    database_url: Url = ""
    """Empty: the embedded PostgreSQL."""
    direct_database_url: Url = ""
    """Past PgBouncer, for LISTEN, advisory locks and migrations. Empty: `database_url`."""
    database_pool: Annotated[int, Meta(ge=1, le=1_000)] = 16
    """Connections per web or worker process."""
    statement_cache: bool = True
    """Off for a PgBouncer that does not know prepared statements (before 1.21)."""
    postgres_bin_dir: Path | None = None
    """Where `postgres` and `initdb` of the embedded server are. Absent: the bundled ones."""

    broker_url: Url = ""
    """`amqp://...` for RabbitMQ. Empty: queues in the database."""

    stripe_api_key: str = ""
    """Empty: the built-in fake of Stripe."""
    stripe_api_base: Url = ""
    """Address of the provider, where it is not Stripe's own."""
    stripe_webhook_secret: str = ""
    fake_stripe_port: Port = 8_421

    smtp_url: Url = ""
    """`smtp://user:password@host:port` for mail. Empty: messages are kept, not sent."""
    sms_url: Url = ""
    whatsapp_url: Url = ""
    push_url: Url = ""
    """Where messages of a channel are posted to (see `api/carriers.py`). Empty: they are kept."""
    carrier_secret: str = ""
    """Signs what goes to those carriers, and what they tell."""
    public_url: Url = ""
    """Where shoppers reach this service, for links in messages. Empty: `http://host:port`."""

    oidc_issuer: Url = ""
    """Whose tokens sign shoppers in, exactly as they name it (`iss`). Empty: nobody's."""
    oidc_audience: str = ""
    """Whom those tokens are meant for (`aud`): this service, as the issuer knows it."""
    oidc_jwks_url: Url = ""
    """Where the issuer tells its keys."""

    browsing_retention_months: Annotated[int, Meta(ge=1, le=120)] = 13
    """How many whole months of browsing events are kept, beside the present one."""

    cart_retention_days: Annotated[int, Meta(ge=1, le=3_650)] = 90
    """How long carts are kept that nobody touches and that never became an order."""

    erased_list: Path | None = None
    """The list of erased persons, which no restore may reach. Absent: in `state_dir`."""

    health_relay_lag_seconds: Seconds = 60.0
    """An older event that no actor has been told of makes `/health` answer 503."""
    health_sweep_lag_seconds: Seconds = 60.0
    """A dead hold that is older than this and not swept makes `/health` answer 503."""

    @property
    def erased_file(self) -> Path:
        """Where it is written down who was erased."""
        return self.erased_list or self.state_dir / "erased.jsonl"

    @property
    def direct_url(self) -> str:
        """The database past any pooler."""
        return self.direct_database_url or self.database_url

    @property
    def links_url(self) -> str:
        """Where links in messages begin."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    def environ(self) -> dict[str, str]:
        """These settings as environment variables, for a child that reads them by `load`."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name.upper(): _text(value) for name, value in values.items() if value is not None}


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. A wrong value is refused by the name of its variable."""
    names = Settings.__struct_fields__
    given = {name: environ[name.upper()] for name in names if environ.get(name.upper())}
    try:
        return msgspec.convert(given, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as wrong:
        raise SettingsError(_explain(str(wrong))) from None


def inherited(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment without our own variables, as the base for a child's."""
    ours = {name.upper() for name in Settings.__struct_fields__}
    return {name: value for name, value in environ.items() if name not in ours}


def _decode(kind: type, value: object) -> object:
    assert kind is Path, kind
    return Path(str(value))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _explain(wrong: str) -> str:
    """The variable and what it may be; never its value, which may hold a password.

    msgspec ends its message with the field's path, "- at `$.port`".
    """
    found = re.search(r"^(.*) - at `\$\.(\w+)`$", wrong)
    assert found is not None, wrong
    rule, name = found.groups()
    kind = get_type_hints(Settings)[name]
    if get_origin(kind) is Literal:
        rule = f"expected one of {', '.join(get_args(kind))}"
    elif "matching regex" in rule:
        rule = "expected an address such as `scheme://host/path`"
    return f"{name.upper()} is wrong: {rule[0].lower()}{rule[1:].removesuffix(', got `str`')}."
