"""A small trading backend that sends its audit events to the console."""
