"""Notices to people: an outbox in the database, and the channels that carry them."""
