"""Messages as mail over SMTP. Text messages have no carrier yet and stay in the outbox."""

from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from commerce.messages import Message, NotSent

TIMEOUT_SECONDS = 10.0
_DEFAULT_SENDER = "no-reply@localhost"


class Mail:
    """One mail server: `smtp://user:password@host:587?from=shop@example.com`, or `smtps://`.

    `smtp` encrypts when the server offers it, `smtps` from the first byte.
    """

    channels = frozenset({"email"})

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "smtps"
        self._host = parts.hostname or "localhost"
        self._port = parts.port or (465 if secure else 25)
        self._secure = secure
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._sender = parse_qs(parts.query).get("from", [_DEFAULT_SENDER])[0]

    async def send(self, message: Message) -> None:
        """Hand one message over. Raises NotSent; the server may have taken it all the same."""
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = message.recipient
        mail["Subject"] = message.subject
        mail["Message-ID"] = f"<{message.id}@mostrador>"  # the same one, should it come twice
        mail.set_content(message.body)
        try:
            await aiosmtplib.send(
                mail,
                hostname=self._host,
                port=self._port,
                use_tls=self._secure,
                username=self._user,
                password=self._password,
                timeout=TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPResponseException as refused:
            raise NotSent(f"SMTP {refused.code}") from refused
        except (aiosmtplib.SMTPException, OSError, ValueError) as failed:
            raise NotSent(type(failed).__name__) from failed
