"""Health: what each part of the console says when it is asked, under a deadline that holds.

`checks` ask one part each, `probes` see to it that each is asked once at a time and nobody waits
longer than a second, `report` puts the answers together, `history` keeps them by the minute.
"""
