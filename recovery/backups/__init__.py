"""Logical backups: dumped in a snapshot, sealed, stored, listed, verified, kept and let go."""
