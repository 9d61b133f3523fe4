"""A line `NAME=value` in an `.env` file; all other lines and comments stay byte for byte.

Written so that Docker Compose, `sh` and python-dotenv read the same value back. Values that
they read differently whatever the quotes are refused: see `quoted`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from secrets_rotation.declared import Setting
from secrets_rotation.delivery.destinations import folder
from secrets_rotation.delivery.destinations.base import Destination, Parcel
from secrets_rotation.delivery.destinations.file import MODE, PATH
from secrets_rotation.exceptions import DeliveryError

# Compose takes "export" off the beginning of a name, whatever follows.
NAME = re.compile(r"(?!export)[A-Za-z_][A-Za-z0-9_]*\Z")
# Needs no quotes anywhere, not even for `docker run --env-file`, which keeps them.
PLAIN = re.compile(r"[A-Za-z0-9_./+@%=,-][A-Za-z0-9_./+@%=,~-]*\Z")
# A whole assignment. A quoted value may go over several lines, and what looks like an
# assignment within it is none.
ASSIGNMENT = re.compile(
    rb"""^(?P<before>[ \t]*(?:export[ \t]+)?)(?P<name>[A-Za-z_][\w.-]*)[ \t]*=
    (?:
        [ \t]*(?:'(?:\\'|[^'])*'|"(?:\\.|[^"\\])*")(?=[ \t]*(?:\r?$|[ \t]\#))
        | (?:(?![ \t]+\#)[^\r\n])*
    )""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)


class EnvFile(Destination):
    name = "env_file"
    title = "Line in an .env file"
    summary = "Writes NAME=value into an .env file and leaves its other lines alone."
    settings = (
        PATH,
        Setting("variable", "The variable that holds the value.", required=True),
        Setting("usernameVariable", "The variable that holds the username, if any.", str, ""),
        MODE,
    )

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> dict[str, str]:
        variable, username = given["variable"], given["usernameVariable"]
        found = {
            "path": folder.path_problem(given["path"]),
            "mode": folder.mode_problem(given["mode"]),
            "variable": _name_problem(variable),
            "usernameVariable": username and _name_problem(username),
        }
        if username == variable:
            found["usernameVariable"] = "This is the variable of the value."
        return {name: problem for name, problem in found.items() if problem}

    def deliver(self, parcel: Parcel) -> None:
        values = {self.given["variable"]: parcel.value.reveal()}
        if username := self.given["usernameVariable"]:
            values[username] = parcel.username
        lines = {name: f"{name}={quoted(value)}" for name, value in values.items()}
        with folder.locked(self.given["path"]) as place:
            found = place.existing()
            place.remember(parcel, tuple(values))
            content = with_lines(found.content if found else b"", lines)
            place.replace(content, int(self.given["mode"], 8), found)


def quoted(value: str) -> str:
    """Return the value as all readers understand it; raise `DeliveryError` where there is no way.

    In single quotes `sh` and Compose take everything as it is, but python-dotenv resolves
    `${...}` there too and drops backslashes, and no reader agrees with another on a quote within.
    """
    if PLAIN.match(value):
        return value
    if any(not sign.isprintable() for sign in value):
        raise DeliveryError("An .env file cannot hold line breaks and control characters.")
    if "'" in value or "\\" in value or "${" in value:
        raise DeliveryError("The readers of .env files disagree on values with ' or \\ or ${.")
    return f"'{value}'"


def with_lines(content: bytes, lines: Mapping[str, str]) -> bytes:
    """Return the content with these assignments, each in its old place or at the end."""
    missing = dict(lines)

    def replaced(match: re.Match[bytes]) -> bytes:
        name = match["name"].decode()
        missing.pop(name, None)
        return match["before"] + lines[name].encode() if name in lines else match[0]

    content = ASSIGNMENT.sub(replaced, content)
    if missing and content and not content.endswith(b"\n"):
        content += b"\n"
    return content + b"".join(line.encode() + b"\n" for line in missing.values())


def _name_problem(name: str) -> str:
    return (
        "" if NAME.match(name) else "Use letters, digits and underscores, no digit or export first."
    )
