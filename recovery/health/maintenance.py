"""Whether a restore keeps the console from serving. The one place where health learns of it."""

from __future__ import annotations

from compliance_site.foundation.maintenance import is_on

__all__ = ["is_on"]
