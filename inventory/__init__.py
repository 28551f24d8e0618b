"""How many, where, and what may be promised. No order, customer or till word in it."""
