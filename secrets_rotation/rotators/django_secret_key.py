"""The `SECRET_KEY` of a Django application, in a JSON file that its settings read.

    {"SECRET_KEY": "...", "SECRET_KEY_FALLBACKS": ["..."], "NEXT_SINCE": null}

and in the application's settings:

    keys = json.loads(Path("/run/keys/app.json").read_text())
    SECRET_KEY, SECRET_KEY_FALLBACKS = keys["SECRET_KEY"], keys["SECRET_KEY_FALLBACKS"]

A process that does not know a key refuses what another one signed with it, so the new key
comes in three roll-outs: as the first fallback (`NEXT_SINCE` says when); then, once every
process has read the file again, as the key that signs, the old one behind it; and when the
grace is over without the old one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.utils import timezone

from compliance_site.foundation import private_files
from compliance_site.foundation.private_files import PrivateFile
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.policies.generation import GenerationRules, generated_value
from secrets_rotation.rotators.base import Answer, Credential, Guard, Rotator

# Django's own check asks for 50.
SHORTEST_KEY = 64
LONGEST_ROLLOUT = 7 * 24 * 3600
NO_FOLDER = "DELIVERY_FOLDER is not set; set it to the folder below which the file is."
FIELDS = {"SECRET_KEY", "SECRET_KEY_FALLBACKS", "NEXT_SINCE"}


@dataclass(frozen=True, repr=False)
class Keys:
    """What the file holds. While `next_since` is set, the first fallback waits to sign."""

    signing: str
    fallbacks: tuple[str, ...] = ()
    next_since: datetime | None = None

    @classmethod
    def of(cls, text: str) -> Keys:
        """Parse a file; raise `ValueError`, whose text is about the form only."""
        read = json.loads(text)
        if not isinstance(read, dict) or not {"SECRET_KEY"} <= read.keys() <= FIELDS:
            raise ValueError("wrong members")
        fallbacks, since = read.get("SECRET_KEY_FALLBACKS") or [], read.get("NEXT_SINCE")
        texts = [read["SECRET_KEY"], *fallbacks]
        if not all(isinstance(key, str) and key for key in texts):
            raise ValueError("a key is no text")
        next_since = datetime.fromisoformat(since) if since else None
        return cls(texts[0], tuple(fallbacks), next_since if fallbacks else None)

    @property
    def text(self) -> str:
        members = {
            "SECRET_KEY": self.signing,
            "SECRET_KEY_FALLBACKS": self.fallbacks,
            "NEXT_SINCE": self.next_since and self.next_since.isoformat(),
        }
        return json.dumps(members, indent=1) + "\n"

    @property
    def waiting(self) -> str | None:
        return self.fallbacks[0] if self.next_since else None

    def with_waiting(self, key: str, now: datetime) -> Keys:
        return Keys(self.signing, (key, *_others(self.fallbacks, key)), now)

    def with_signing(self, key: str) -> Keys:
        """Let the key sign; the one that did is the first fallback."""
        return Keys(key, (self.signing, *_others(self.fallbacks, key)))

    def without_fallback(self, key: str) -> Keys:
        since = None if self.waiting == key else self.next_since
        return replace(self, fallbacks=_others(self.fallbacks, key), next_since=since)


class DjangoSecretKeyRotator(Rotator):
    """Until every process has had the time to read the file again, `set` says that it waits."""

    name = "django_secret_key"
    title = "Django SECRET_KEY"
    summary = "The SECRET_KEY of a Django application, in a JSON file below DELIVERY_FOLDER."
    settings = (
        Setting("path", "The JSON file, as a path below DELIVERY_FOLDER.", required=True),
        Setting(
            "rollout_seconds",
            "How long it takes until every process of the application has read a changed file.",
            int,
            default=300,
        ),
    )

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        problems = {"path": _path_problem(target["path"])}
        if not 0 <= target["rollout_seconds"] <= LONGEST_ROLLOUT:
            problems["rollout_seconds"] = f"This must be between 0 and {LONGEST_ROLLOUT}."
        return {name: problem for name, problem in problems.items() if problem}

    def principal(self) -> str:
        return f"Django SECRET_KEY in {self.target['path']}"

    def generate(self, rules: GenerationRules) -> SecretText:
        return generated_value(replace(rules, length=max(rules.length, SHORTEST_KEY)))

    def probe(self, credential: Credential) -> Answer:
        """Tell whether the application accepts the key; one that waits does not sign yet."""
        try:
            with self._file() as file:
                keys = _read(file)
        except TargetUnknownError:
            return Answer.UNKNOWN
        key = credential.value.reveal()
        if keys is None or key == keys.waiting:
            return Answer.REFUSED
        return Answer.WORKS if key in {keys.signing, *keys.fallbacks} else Answer.REFUSED

    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        """Roll the key out as a fallback, and once that took its time let it sign."""
        key, now = pending.value.reveal(), timezone.now()
        with self._file() as file:
            keys = _read(file)
            if keys is None:
                _write(file, Keys(key, (current.value.reveal(),) if current else ()), guard)
            elif keys.signing != key:
                if keys.waiting != key:
                    keys = keys.with_waiting(key, now)
                    _write(file, keys, guard)
                self._refuse_to_hurry(keys, now)
                _write(file, keys.with_signing(key), guard)

    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        key = pending.value.reveal()
        with self._file() as file:
            keys = _read(file)
            if keys is None:
                return
            if keys.signing == key:
                keys = keys.with_signing(_one_before(keys, current))
            _write(file, keys.without_fallback(key), guard)

    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        with self._file() as file:
            keys = _read(file)
            if keys is None or keys.signing != current.value.reveal():
                raise TargetUnknownError("Another key signs than the current version's.")
            _write(file, keys.without_fallback(old.value.reveal()), guard)

    def _refuse_to_hurry(self, keys: Keys, now: datetime) -> None:
        assert keys.next_since is not None
        over = keys.next_since + timedelta(seconds=self.target["rollout_seconds"])
        if now < over:
            raise TargetUnknownError(
                f"The new key is being rolled out as a fallback; it signs from {over:%H:%M:%S} on."
            )

    @contextmanager
    def _file(self) -> Iterator[PrivateFile]:
        path = self.target["path"]
        if problem := _path_problem(path):
            raise TargetUnknownError(problem)
        assert settings.DELIVERY_FOLDER is not None
        try:
            with private_files.locked(settings.DELIVERY_FOLDER, PurePosixPath(path)) as file:
                yield file
        except OSError as exc:
            raise TargetUnknownError(f"{path}: {exc.strerror}") from None


def _path_problem(path: str) -> str:
    if settings.DELIVERY_FOLDER is None:
        return NO_FOLDER
    if any(part in {"", ".", ".."} for part in path.split("/")) or "\0" in path:
        return "This must be a path below DELIVERY_FOLDER, without '..' and without a first '/'."
    return ""


def _read(file: PrivateFile) -> Keys | None:
    """Return what the file holds; raise `TargetUnknownError` for what is no file of keys."""
    text = file.read()
    try:
        return None if text is None else Keys.of(text)
    except (ValueError, TypeError):
        raise TargetUnknownError(f"{file.name} is no file of Django keys.") from None


def _write(file: PrivateFile, keys: Keys, guard: Guard) -> None:
    guard.confirm()
    if file.read() != keys.text:
        file.replace(keys.text)


def _others(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    return tuple(other for other in keys if other != key)


def _one_before(keys: Keys, current: Credential | None) -> str:
    if current is None and not keys.fallbacks:
        raise TargetUnknownError("The file has no other key to go back to.")
    return current.value.reveal() if current else keys.fallbacks[0]
