"""Edges: HTTP routes, webhooks, background actors, command line. Thin; the nouns hold the rules."""
