"""Secret rotation."""
