"""Restores: beside the live database, checked, swapped in one moment, and undoable."""
