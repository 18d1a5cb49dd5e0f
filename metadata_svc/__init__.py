"""Images, variants, tags, usage, credentials and the state machine: the only service that speaks to the database.

It decides what happens to objects and relays those decisions, but touches no object itself.
"""
