"""What every app stands on; it imports no app."""
