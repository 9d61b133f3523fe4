"""The module that Django looks for in an `ENGINE`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import psycopg
from django.db.backends.postgresql import base

from compliance_site.foundation.postgresql import DEADLINE
from compliance_site.foundation.postgresql.connection import BoundedConnection
from compliance_site.foundation.postgresql.silence import CONNECT_SECONDS, SERVER


class _Driver(ModuleType):
    """psycopg as Django uses it, with connections of our own."""

    connect = staticmethod(BoundedConnection.connect)

    def __getattr__(self, name: str) -> Any:
        return getattr(psycopg, name)


class DatabaseWrapper(base.DatabaseWrapper):
    """Opens connections that keep to the deadline in the database's settings, if there is one."""

    Database = _Driver(psycopg.__name__)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect as Django does; with a deadline in time, and not to a server known as silent."""
        seconds = self.settings_dict.get(DEADLINE)
        if seconds is None:
            return super().get_new_connection(conn_params)
        SERVER.refuse_if_silent()
        try:
            connection = super().get_new_connection(
                {"connect_timeout": CONNECT_SECONDS} | conn_params
            )
        except psycopg.errors.ConnectionTimeout:
            SERVER.found_silent()
            raise
        connection.seconds = seconds
        return connection
