"""Where entries live: monthly partitions that nobody can change."""
