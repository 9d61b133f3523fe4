"""Numbers that prove by their own digits what they are: cards, IBANs, wallet keys."""

from __future__ import annotations

import hashlib
import re

# First digits and lengths, by ISO/IEC 7812 ranges that the networks publish.
_CARD = re.compile(
    r"""
      4[0-9]{12}(?:[0-9]{3}|[0-9]{6})?                                      # Visa
    | 5[1-5][0-9]{14} | 2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}  # Mastercard
    | 3[47][0-9]{13}                                                        # American Express
    | 3(?:0[0-5]|[689][0-9])[0-9]{11}                                       # Diners Club
    | 35(?:2[89]|[3-8][0-9])[0-9]{12,15}                                    # JCB
    | 6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12,15}                            # Discover
    | 62[0-9]{14,17}                                                        # UnionPay
    | (?:5018|5020|5038|6304|6759|676[123])[0-9]{12,15}                     # Maestro
    """,
    re.VERBOSE,
)
_DOUBLED = str.maketrans("0123456789", "0246813579")
# ISO 13616: how long an IBAN of each country is.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FO FI GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG LY",
        25: "PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ CY DO GT HN HU LB NI PL BY SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def is_card_number(digits: str) -> bool:
    """Tell whether these digits are a payment card's: a known range, and Luhn's checksum."""
    if not _CARD.fullmatch(digits):
        return False
    doubled = digits[-2::-2].translate(_DOUBLED)
    return (sum(map(int, digits[::-2])) + sum(map(int, doubled))) % 10 == 0


def is_iban(compact: str) -> bool:
    """Tell whether this text without blanks is an IBAN: the country's length, and mod 97."""
    if IBAN_LENGTHS.get(compact[:2].upper()) != len(compact):
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def is_wallet_key(text: str) -> bool:
    """Tell whether this is a Bitcoin private key in wallet import format, by its checksum."""
    number = 0
    for sign in text:
        number = number * 58 + _BASE58.index(sign)
    decoded = number.to_bytes(39, "big").lstrip(b"\0")
    payload, checksum = decoded[:-4], decoded[-4:]
    return hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4] == checksum
