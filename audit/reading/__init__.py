"""How entries go out: filters, statistics, exports."""
