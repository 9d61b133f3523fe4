"""The REST doors of the audit trail."""
