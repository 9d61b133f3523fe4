"""Look for secrets in every form in which they could stand somewhere."""

import base64
import hashlib
import json
import os
import re
import subprocess
from collections import Counter
from urllib.parse import quote, quote_plus

LONGEST = 48
# Enough of a random secret to be no accident.
RUN = re.compile(r"[A-Za-z0-9]{12,}")


def pieces(secret):
    """Return the secret, or the beginning of a long one, and what no escaping can change in it."""
    return [secret[:LONGEST], *RUN.findall(secret[:LONGEST])]


def forms(secret):
    """Return the forms of a piece by name."""
    plain = secret.encode()
    found = {
        "plain": secret,
        "hex": plain.hex(),
        "HEX": plain.hex().upper(),
        "sha256": hashlib.sha256(plain).hexdigest(),
        "URL": quote(secret, safe=""),
        "form": quote_plus(secret),
        "JSON": json.dumps(secret)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
    }
    # Base64 of a longer text shows it at one of three offsets; its ends depend on the rest.
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + plain).decode().rstrip("=")
        found[f"base64 at {offset}"] = encoded[4 if offset else 0 : -2]
    return found


def written(secret, form):
    """Write a secret in a form as another program would, with something around it."""
    texts = {
        "plain": f"value={secret};",
        "hex": "\\x00" + secret.encode().hex() + "00",
        "HEX": f"00{secret.encode().hex().upper()}00",
        "sha256": f"#{hashlib.sha256(secret.encode()).hexdigest()}",
        "URL": f"https://x.example/?q={quote(secret, safe='')}&r=1",
        "form": f"a=b&c={quote_plus(secret)}",
        "JSON": json.dumps({"a": [f"<{secret}>"]}),
        "JSON in JSON": json.dumps({"a": json.dumps({"b": f"<{secret}>"})}),
    }
    if form in texts:
        return texts[form]
    around = "." * int(form.rpartition(" ")[2])
    return base64.b64encode(f"{around}{secret} and more".encode()).decode()


def search(secrets, *places):
    """Return how often each kind of secret stands below each path: (path, kind) and a count."""
    kinds = {
        form: kind
        for secret, kind in secrets.items()
        for piece in pieces(secret)
        for form in forms(piece).values()
    }
    found = subprocess.run(
        ["grep", "-raoHZF", "-f", "-", "--", *map(str, places)],
        input="\n".join(kinds),
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"LC_ALL": "C"},
    )
    assert found.returncode in (0, 1), found.stderr
    hits = (line.split("\0", 1) for line in found.stdout.splitlines())
    return Counter((path, kinds[form]) for path, form in hits)


def table(hits, kinds, places):
    """Return places by kinds as text, as a person reads it."""
    width = max(map(len, places))
    head = " " * width + "".join(f" {number:>3}" for number in range(1, len(kinds) + 1))
    rows = [
        f"{place:<{width}}" + "".join(f" {hits[place, kind]:>3}" for kind in kinds)
        for place in places
    ]
    legend = [f"{number:>3} {kind}" for number, kind in enumerate(kinds, 1)]
    return "\n".join([head, *rows, *legend])
