"""Code scanning."""
