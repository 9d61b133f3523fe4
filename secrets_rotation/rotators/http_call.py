"""One HTTP call as settings describe it: what goes where, and what may not.

```
{"method": "POST", "url": "https://api.example/keys/{version}", "headers": {"Authorization":
 "Bearer {admin_token}"}, "json": {"secret": "{value}"}}
```

Instead of `json` there may be `form` (names and texts), and `basic` with a user and a password.
`{name}` is filled in everywhere but in names of headers and fields, and nothing that was filled
in is looked at again. The rest of the call is not secret and is shown to people: secrets are
in `credentials`, and never in a URL, since servers keep those in their logs.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from compliance_site.foundation import outgoing
from compliance_site.foundation.outgoing import OutgoingError
from compliance_site.foundation.secret_text import SecretText

Values = Mapping[str, SecretText | str]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
KINDS: dict[str, type] = {
    "method": str,
    "url": str,
    "headers": dict,
    "json": object,
    "form": dict,
    "basic": list,
}
PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# What may stand in a URL.
NOT_SECRET = frozenset({"username", "version"})
SECRET_HEADER = re.compile("authorization|token|key|secret|cookie|password", re.IGNORECASE)


def send(call: Mapping[str, Any], values: Values, seconds: float) -> int:
    """Make the call and return the answer's status; raise `OutgoingError`."""
    plain = {
        name: value.reveal() if isinstance(value, SecretText) else value
        for name, value in values.items()
    }
    # Names in lower case, so that what is set here does not stand beside the same from there.
    headers = {name.lower(): _filled(text, plain) for name, text in call.get("headers", {}).items()}
    content: bytes | None = None
    if "json" in call:
        content = json.dumps(_filled_within(call["json"], plain)).encode()
        headers.setdefault("content-type", "application/json")
    elif "form" in call:
        fields = {name: _filled(text, plain) for name, text in call["form"].items()}
        content = urlencode(fields).encode()
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
    if "basic" in call:
        pair = ":".join(_filled(text, plain) for text in call["basic"])
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    url = _filled(call["url"], {name: quote(value, safe="") for name, value in plain.items()})
    answer = outgoing.send(
        call.get("method", "GET"), url, headers=headers, content=content, timeout=seconds
    )
    return answer.status


def problem_of(call: Mapping[str, Any], known: Collection[str]) -> str:
    """Return what is wrong with a call that may name the `known` values; "" when nothing is."""
    for key, value in call.items():
        if key not in KINDS:
            return f"Unknown key {key!r}; known are {', '.join(KINDS)}."
        if not isinstance(value, KINDS[key]):
            return f"{key!r} is of the wrong kind."
    if unknown := sorted(set(_placeholders(call)) - set(known)):
        return (
            f"Nothing is known by the name {{{unknown[0]}}}; known are {', '.join(sorted(known))}."
        )
    return _shape_problem(call) or _url_problem(call.get("url", "")) or _header_problem(call)


def credentials_problem(credentials: Mapping[str, Any], reserved: Collection[str]) -> str:
    """Return what is wrong with the secret values that calls may name; "" when nothing is."""
    for name, value in credentials.items():
        if not NAME.fullmatch(name) or name in reserved:
            return f"{name!r} cannot be the name of a credential."
        if not isinstance(value, SecretText):
            return f"{name!r} is not a text."
    return ""


def _shape_problem(call: Mapping[str, Any]) -> str:
    if call.get("method", "GET") not in METHODS:
        return f"'method' is one of {', '.join(METHODS)}."
    if "json" in call and "form" in call:
        return "A call has 'json' or 'form', not both."
    texts = [*call.get("headers", {}).values(), *call.get("form", {}).values()]
    if not all(isinstance(text, str) for text in [*texts, *call.get("basic", [])]):
        return "'headers', 'form' and 'basic' hold texts."
    if "basic" in call and len(call["basic"]) != 2:
        return "'basic' is a list of a user and a password."
    if "basic" in call and "authorization" in map(str.lower, call.get("headers", {})):
        return "A call has 'basic' or the header Authorization, not both."
    return ""


def _url_problem(url: str) -> str:
    host = url.partition("://")[2].partition("/")[0]
    if PLACEHOLDER.search(host) or "{" in url.partition("://")[0]:
        return "The host of 'url' cannot be filled in."
    if secret := sorted(set(PLACEHOLDER.findall(url)) - NOT_SECRET):
        return f"{{{secret[0]}}} must not be in 'url', which servers keep in their logs."
    try:
        outgoing.place_of(PLACEHOLDER.sub("x", url))
    except OutgoingError as refusal:
        return str(refusal)
    return ""


def _header_problem(call: Mapping[str, Any]) -> str:
    for name, text in call.get("headers", {}).items():
        if name.lower() in outgoing.OWN_HEADERS:
            return f"The header {name} cannot be set."
        if SECRET_HEADER.search(name) and not PLACEHOLDER.search(text):
            return f"Put what is secret in {name} into 'credentials' and write {{its_name}} here."
    return ""


def _placeholders(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from PLACEHOLDER.findall(value)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _placeholders(inner)


def _filled(text: str, plain: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: plain[match[1]], text)


def _filled_within(value: Any, plain: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _filled(value, plain)
    if isinstance(value, list):
        return [_filled_within(inner, plain) for inner in value]
    if isinstance(value, dict):
        return {key: _filled_within(inner, plain) for key, inner in value.items()}
    return value
