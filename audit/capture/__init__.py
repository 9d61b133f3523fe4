"""How entries come in: requests, events of other services, sign-ins, tasks, commands."""
