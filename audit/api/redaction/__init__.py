"""The look-up of redacted values."""
