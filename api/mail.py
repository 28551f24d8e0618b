"""Messages as mail over SMTP, with the headers by which a mail program unsubscribes (RFC 8058)."""

import re
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from commerce.messages import Message, NotSent

TIMEOUT_SECONDS = 10.0
_DEFAULT_SENDER = "no-reply@localhost"

_NOBODY = frozenset({550, 551, 553})
_ENHANCED = re.compile(r"^(\d)\.(\d{1,3})\.\d{1,3}\b")
_ADDRESS_STATUS = "1"


class Mail:
    """One mail server: `smtp://user:password@host:587?from=shop@example.com`, or `smtps://`.

    `smtp` encrypts when the server offers it, `smtps` from the first byte.
    """

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
        try:
            await aiosmtplib.send(
                self._mail(message),
                hostname=self._host,
                port=self._port,
                use_tls=self._secure,
                username=self._user,
                password=self._password,
                timeout=TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            (recipient,) = refused.recipients
            why = f"SMTP {recipient.code}"
            raise NotSent(why, gone=is_nobody(recipient.code, recipient.message)) from refused
        except aiosmtplib.SMTPResponseException as refused:
            raise NotSent(f"SMTP {refused.code}") from refused
        except (aiosmtplib.SMTPException, OSError, ValueError) as failed:
            raise NotSent(type(failed).__name__) from failed

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = message.recipient
        mail["Subject"] = message.subject
        mail["Message-ID"] = f"<{message.id}@mostrador>"  # the same one, should it come twice
        if message.unsubscribe_url is not None:
            mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail.set_content(message.body)
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html")
        return mail


def is_nobody(code: int, answer: str) -> bool:
    """Whether a server's refusal of a recipient says that there is no such mailbox (RFC 3463).

    Servers refuse for policy with the same codes, so the enhanced status decides where there is
    one: 5.1.x is about the address.
    """
    enhanced = _ENHANCED.match(answer)
    if enhanced is not None:
        return enhanced[1] == "5" and enhanced[2] == _ADDRESS_STATUS
    return code in _NOBODY
