"""Values that the console makes, and the strength that it asks of values people bring."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass

from compliance_site.foundation.secret_text import SecretText

SHORTEST = 16
LONGEST = 256
# Safe in URLs, `.env` files, shells and every quoting of SQL.
DEFAULT_SYMBOLS = "-_.~"
SYMBOLS = "!#$%&()*+,-./:;<=>?@[]^_{|}~"
CLASSES = (string.ascii_lowercase, string.ascii_uppercase, string.digits)


@dataclass(frozen=True)
class GenerationRules:
    """How long a value is and which symbols it may hold beside letters and digits."""

    length: int = 32
    symbols: str = DEFAULT_SYMBOLS


def generated_value(rules: GenerationRules) -> SecretText:
    """Return a random value with every class of signs in it, beginning with a letter."""
    classes = [*CLASSES, rules.symbols] if rules.symbols else list(CLASSES)
    alphabet = "".join(classes)
    while True:
        first = secrets.choice(string.ascii_letters)
        text = first + "".join(secrets.choice(alphabet) for _ in range(rules.length - 1))
        if all(any(sign in text for sign in signs) for signs in classes):
            return SecretText(text)
