"""Money, ids, clock, errors, state machines, settings, SQL and events. No retail word in it."""
