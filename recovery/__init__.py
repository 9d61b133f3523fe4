"""Disaster recovery."""
