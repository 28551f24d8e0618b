"""`make bench`: what Mostrador does per second, beside what this machine could do at best.

Each figure stands as a ratio to a ceiling or a peer that was measured in the same run, because
machines are noisy and differ. The load generator runs on the same machine, in its own process.
"""
