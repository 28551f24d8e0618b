"""`mostrador demo`: one story over HTTP against the running product, told as it happens.

A shopper buys on the phone, an associate hands over, another store takes back; a till, cash and a
change of mind besides. Another lets the counter know her, as far as she allows, and is forgotten.
It uses what any client has: a key of a shop, of a tablet, of the back office. It may be played any
number of times, and fails when anything is not as it says.
"""

from api.demo.command import command

__all__ = ["command"]
