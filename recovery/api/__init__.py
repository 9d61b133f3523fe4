"""The REST doors of disaster recovery."""
