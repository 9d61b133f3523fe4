"""A file that holds one secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from secrets_rotation.declared import Setting
from secrets_rotation.delivery.destinations import folder
from secrets_rotation.delivery.destinations.base import Destination, Parcel, document

FORMATS = ("value", "json")
PATH = Setting("path", "The file, as a path below DELIVERY_FOLDER.", required=True)
MODE = Setting("mode", "Who may read it: 0600, 0640, 0400 or 0440.", default="0600")


class File(Destination):
    name = "file"
    title = "File"
    summary = "Writes the value, or a JSON with version and username, into a file of its own."
    settings = (
        PATH,
        Setting(
            "format", "value: nothing but the value; json: with version, username.", str, "value"
        ),
        Setting("previous", "Keep the version before in the JSON while it works.", bool, False),
        MODE,
    )

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> dict[str, str]:
        found = {
            "path": folder.path_problem(given["path"]),
            "mode": folder.mode_problem(given["mode"]),
            "format": ""
            if given["format"] in FORMATS
            else f"This must be one of {', '.join(FORMATS)}.",
            "previous": "Only the format json has a place for it."
            if given["previous"] and given["format"] != "json"
            else "",
        }
        return {name: problem for name, problem in found.items() if problem}

    @property
    def keeps_earlier(self) -> bool:
        return bool(self.given["previous"])

    def deliver(self, parcel: Parcel) -> None:
        with folder.locked(self.given["path"]) as place:
            found = place.existing()
            place.remember(parcel)
            place.replace(self._content(parcel), int(self.given["mode"], 8), found)

    def _content(self, parcel: Parcel) -> bytes:
        if self.given["format"] == "json":
            return (json.dumps(document(parcel), ensure_ascii=False, indent=2) + "\n").encode()
        return parcel.value.reveal().encode()
