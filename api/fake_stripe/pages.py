"""The bank's page: where a shopper with a 3-D Secure card says yes or no."""

from html import escape
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from api.fake_stripe import payments
from api.fake_stripe.payments import Call
from api.fake_stripe.wire import Object, StripeError

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Fake bank</title>
<meta name="viewport" content="width=device-width">
<style>body {{ font: 1.1rem system-ui; max-width: 30rem; margin: 4rem auto; padding: 0 1rem }}
button {{ font: inherit; padding: .6rem 1.4rem; margin-right: 1rem }}</style></head>
<body><h1>Fake bank</h1>{content}</body></html>
"""
QUESTION = """<p>A shop asks for <strong>{amount} {currency}</strong> (in its smallest unit).
This is a test; no money moves.</p>
<form method="post"><button name="outcome" value="approve">Approve</button>
<button name="outcome" value="fail">Fail</button></form>
"""
DONE = "<p>Nothing to approve here: this payment is <code>{status}</code>.</p>"


def show(call: Call, intent_id: str) -> str:
    """The question, or what became of it."""
    intent = call.store.get("payment_intent", intent_id)
    if intent["status"] == "requires_action":
        content = QUESTION.format(amount=intent["amount"], currency=escape(intent["currency"]))
    else:
        content = DONE.format(status=escape(intent["status"]))
    return PAGE.format(content=content)


def answer(call: Call, intent_id: str, form: str) -> str | None:
    """Apply the shopper's choice. Tells where the browser goes next, None to stay on the page."""
    outcome = parse_qs(form).get("outcome", [""])[0]
    if outcome not in {"approve", "fail"}:
        raise StripeError(400, "Send outcome=approve or outcome=fail.", param="outcome")
    before = call.store.get("payment_intent", intent_id)
    after = payments.authenticate(call, intent_id, approved=outcome == "approve")
    redirect = (before["next_action"] or {}).get("redirect_to_url") or {}
    return _with_status(redirect["return_url"], after) if redirect.get("return_url") else None


def _with_status(url: str, intent: Object) -> str:
    """Stripe adds these to the address that the shop named."""
    failed = intent["last_payment_error"] is not None
    scheme, host, path, query, fragment = urlsplit(url)
    added = urlencode(
        {
            "payment_intent": intent["id"],
            "payment_intent_client_secret": intent["client_secret"],
            "redirect_status": "failed" if failed else "succeeded",
        }
    )
    return urlunsplit((scheme, host, path, f"{query}&{added}" if query else added, fragment))
