"""What stands in the place of a secret: a keyed tag, the same for the same secret.

`hmac-sha256:<key version>:<first 16 hex digits>`. Whoever has the key can ask whether a value
occurred; nobody else can try values against a tag. Without a key stands `[REDACTED]`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

REDACTED = "[REDACTED]"
TAG_PATTERN = r"hmac-sha256:[0-9]{1,9}:[0-9a-f]{16}(?![0-9a-f])|\[REDACTED\]"
LONGEST_TAG = len("hmac-sha256:") + 9 + len(":") + 16
_TAG = re.compile(TAG_PATTERN)


@dataclass(frozen=True)
class Tagger:
    """The key that tags are made with, and those that older tags were made with."""

    key: bytes = field(repr=False)
    version: int = 1
    retired: Mapping[int, bytes] = field(default_factory=dict, repr=False)

    def tag(self, text: str) -> str:
        return _tag(self.key, self.version, text)

    def tags(self, text: str) -> list[str]:
        """Return the tags of the text under every key, the present one first."""
        older = sorted(self.retired.items(), reverse=True)
        return [self.tag(text), *(_tag(key, version, text) for version, key in older)]

    def macs(self, content: bytes) -> tuple[bytes, ...]:
        """Return the whole MAC of the content under every key, the present one first."""
        older = sorted(self.retired.items(), reverse=True)
        keys = (self.key, *(key for _, key in older))
        return tuple(hmac.digest(key, content, "sha256") for key in keys)


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def text_of(value: object) -> str | None:
    """Return the text that a value is tagged by: 1234 and "1234" have one tag.

    None for what nests too deep to be written as JSON.
    """
    if isinstance(value, str):
        return value
    try:
        return json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str
        )
    except (RecursionError, TypeError, ValueError):
        return None


def _tag(key: bytes, version: int, text: str) -> str:
    mac = hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"hmac-sha256:{version}:{mac.hexdigest()[:16]}"
