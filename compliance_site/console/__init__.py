"""The auditor's browsable console on Django admin."""
