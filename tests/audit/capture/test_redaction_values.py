import json
import logging
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from audit.capture.redaction import LONGEST_TAG, REDACTED, Redactor, Tagger, make_rules
from audit.capture.redaction.log_lines import RedactingFormatter

keyless = Redactor()
keyed = Redactor(Tagger(b"k" * 32))

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xf\n-----END RSA PRIVATE KEY-----"
)
# A text around the secret, the secret.
SECRETS = [
    ("sent Bearer {} today", "abcdef123456"),
    ("basic {}", "YWxpY2U6aHVudGVyMg=="),
    ("Token {}", "c0ffee" * 5),
    ("Authorization: {}", "Digest username=alice"),
    ("Set-Cookie: {}", "sid=31d4d96e407aad42; Path=/"),
    ("jwt={};", JWT),
    ("key:\n{}\nend", PEM),
    ("it read {}", "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xf"),
    ("no access to postgres://bot:{}@db:5432/x", "s3cr:t"),
    ("redis://:{}@cache", "p@ss"),
    ("GET https://x.example/cb?state=1&access_token={}#top", "abc"),
    ("card {} declined", "4111111111111111"),
    ("card 4111 1111 1111 1111 declined", ""),
    ("card 3782-822463-10005.", ""),
    ("{}", "5555555555554444"),
    ("{}", "2223003122003222"),
    ("to {} please", "DE89370400440532013000"),
    ("to GB82 WEST 1234 5698 7654 32 NOW", ""),
    ("ssn {}.", "078-05-1120"),
    ("id {}", "AKIAIOSFODNN7EXAMPLE"),
    ("id {}", "ASIAIOSFODNN7EXAMPLE"),
    ("stripe {}", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
    ("stripe {}", "rk_live_4eC39HqLyjWDarjtT1zdp7dc"),
    ("stripe {}", "sk_test_4eC39HqLyjWDarjtT1zdp7dc"),
    ("git {}", "ghp_" + "a1B2" * 9),
    ("git {}", "gho_" + "a1B2" * 9),
    ("git {}", "github_pat_" + "11ABC_def" * 5),
    ("git {}", "glpat-abcdefgh12345678WXYZ"),
    ("chat {}", "xoxb-123456789012-abcdefABCDEF"),
    ("maps {}", "AIza" + "SyA1b2C3d" * 3 + "SyA1b2C3"),
    ("npm {}", "npm_" + "a1B2c3" * 6),
    ("pypi {}", "pypi-AgEIcHlwaS5vcmcCJDU3"),
    ("model {}", "sk-proj-a1b2c3d4e5f6g7h8i9j0"),
    ("mail {}", "SG.abcdefghijklmnop1234.ABCDEFGHIJKLMNOP5678"),
    ("bot {}", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawQ"),
    ("ours {}", "cc_" + "0a1b" * 16),
    ("wallet {}", "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ"),
    ("connection failed: host=db password={} user=x", "hunter2"),
    ('{{"apiKey": "{}", cut of', "short"),
    ("PGPASSWORD='{}' psql", "with blank"),
    ('{{"user":"x","password":"{}', "cut off here"),
    ("{{'user': 'x', 'password': '{}", "cut off here"),
    ('{{"password":"{}","n":1', 'with \\"quoted\\" text'),
    ('{{"pin":"{}', "1234"),
    ('{{"pin": {}, "symbol":"BTC', "1234"),
    ('see {{"token":"{}","symbol":"BTC"}}', "abc"),
    ('{{"secret":{},"symbol":"BTC', '["a]","b"]'),
    ('{{"secret":{}', '["a'),
    ('{{"credentials":{}', '{"user":"a","x":{"y'),
    ('{{"credential":"{}', "cut off here"),
    ("{{'secret': {}, 'n': 1", "['a]b', {'c': 1}]"),
    ('{{\\"jwt\\":\\"{}\\",\\"n\\":1', "short"),
    ('{{"headers":{{"X-Api-Key" => "{}"', "short"),
    ("Cookie: {}", 'theme="dark"; connect.sid=31d4d96e407aad42'),
    ("Authorization: {}", 'Digest username="alice", response="6629fae49393a053"'),
    ("/etc/app/password: {} denied", "hunter2"),
    ("password={} denied", "Permission"),
    ('curl -H "Cookie: {}" https://x.example', "connect.sid=31d4d96e407aad42"),
]

# Ordinary payloads of a trading platform; nothing of them may change.
HARMLESS = """
BTCUSDT|BTC/USDT|BTC-PERP-20251226|AAPL|0.00001234|63250.5|1,250,000.00|-12.5%
1731148200|1731148200123|1731148200123456|1731148200123456789|2025-11-09T10:30:00.123456Z
2025-11-09 10:30:00+01:00|20251109-103000|8389765493018475236|28457|ORD-2025-000123
ORD-4111111111111111|order_4111111111111111|4111111111111112|1234567890123456|0000000000000000
550e8400-e29b-41d4-a716-446655440000|4f9b2c1e8a7d4e6f9b2c1e8a7d4e6f90
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855|0xdAC17F958D2ee523a2206206994597C13D831ec7
bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq|1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa
trader@example.com|@moon_boy_99|192.168.1.100|10.0.0.0/8|2001:db8::1|+49 30 1234567890|555-12-34567
000-12-3456|666-12-3456|078-00-1120|12-34-5678|2025-11-09|DE00370400440532013000|US0378331005
RSI_CROSS|ema(12,26) > 0 and volume >= 4.5|stop loss = 2%, take profit: 5%|Basic plan|basic training
Bearer market|bearer bond|Token USDT listed|token transfer confirmed|Token 0xdAC17F958D2ee523a2206206994597C13D831ec7
https://exchange.example/v1/orders?symbol=BTC&limit=5#top|wss://stream.example:9443/ws/btcusdt@trade
iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36
/orders/123/fills?page=2&sort=-created|skip-list-of-the-order-book|pk_live_abcdefghijklmnop|AKIA|eyJ
{"symbol":"BTCUSDT","tokenSymbol":"USDT","cards":[1,2|{'maxTokens': 4096, 'pinBar': True|"pin":null,"pass_rate":0.97
{"author":"a.meyer","tradingSession":"London"|"sortKey":"created","cardinality":3|\\"idempotencyKey\\":\\"7|"secret":"
could not open file "/etc/passwd: Permission denied|could not open file "/etc/passwd": No such file or directory
/run/secrets/api_key: Is a directory|cannot read '/x/private_key': Permission denied (password file)
14:30:00.123 12:00 4,111.11 1111 1111|1.1.1.1:8080|session: London|the secret of trading|asset class: FX
"""
HARMLESS_TEXTS = [text for line in HARMLESS.strip().splitlines() for text in line.split("|")]


@pytest.mark.parametrize(("around", "secret"), SECRETS)
def test_only_the_secret_in_a_text_is_replaced(around, secret):
    text = around.format(secret)

    redacted = keyless.redact_text(text)

    if secret:
        assert redacted == around.format(REDACTED)
    else:
        assert REDACTED in redacted
        assert not any(sign.isdigit() for sign in redacted)


@pytest.mark.parametrize("text", HARMLESS_TEXTS)
def test_ordinary_trading_payloads_come_through(text):
    assert keyless.redact_text(text) == text
    assert keyless.redact({"value": text, "list": [text]}) == {"value": text, "list": [text]}


def test_a_path_in_a_line_of_the_log_hides_no_error():
    formatter = RedactingFormatter("{message}", style="{")
    text = 'could not open file "/etc/passwd: Permission denied; password: hunter2'
    record = logging.LogRecord("recovery", logging.ERROR, "", 1, text, (), None)

    (message,) = json.loads(formatter.format(record)).values()

    beginning = 'could not open file "/etc/passwd: Permission denied; password: '
    assert message.startswith(beginning)
    assert "hunter2" not in message


@pytest.mark.parametrize("number", [1731148200123456789, 4111111111111112, -1, 0, 10**400, 63250.5])
def test_ordinary_numbers_come_through(number):
    assert keyless.redact([number]) == [number]


def test_a_card_number_that_is_a_number_is_replaced():
    assert keyless.redact({"note": 4111111111111111}) == {"note": REDACTED}


def test_secrets_are_found_in_keys_and_in_query_strings():
    assert keyed.redact({"AKIAIOSFODNN7EXAMPLE": 1}) == {keyed._tag("AKIAIOSFODNN7EXAMPLE"): 1}
    assert keyed.redact_query("q=Bearer%20abcdef123456&n=1") == (
        f"q=Bearer+{keyed._tag('abcdef123456')}&n=1"
    )


def test_equal_values_have_equal_tags_wherever_they_stand():
    secret = "c0ffee" * 5
    (tag,) = keyed.tags_of(secret)

    assert keyed.redact({"token": secret}) == {"token": tag}
    assert keyed.redact({"Authorization": f"Bearer {secret}"}) == {"Authorization": tag}
    assert keyed.redact_query(f"a=1&token={secret}") == f"a=1&token={tag}"
    assert keyed.redact_text(f"Token {secret}") == f"Token {tag}"
    assert keyed.tags_of("4111-1111-1111-1111") == keyed.tags_of("4111111111111111")
    assert keyed.redact({"pin": 1234}) == {"pin": keyed.tags_of("1234")[0]}
    assert keyed.tags_of("another") != [tag]


def test_old_tags_are_found_under_their_own_key():
    older = Redactor(Tagger(b"old", version=1))
    newer = Redactor(Tagger(b"new", version=2, retired={1: b"old"}))

    assert newer.tags_of("x") == [
        *Redactor(Tagger(b"new", version=2)).tags_of("x"),
        *older.tags_of("x"),
    ]
    assert "old" not in repr(newer)


@pytest.mark.parametrize("tag", ["hmac-sha256:7:0123456789abcdef", REDACTED])
def test_a_tag_is_left_as_it_is(tag):
    for text in (tag, f"Bearer {tag}", f"password={tag}", f"x {tag}{tag}", f"Cookie: {tag}"):
        assert keyed.redact_text(text) == text
    assert keyed.redact({"password": tag}) == {"password": tag}
    assert keyed.redact_query(f"token={tag}") in (f"token={tag}", "token=%5BREDACTED%5D")


pieces = st.sampled_from(
    [
        *(around.format(secret) for around, secret in SECRETS),
        *HARMLESS_TEXTS,
        *("Bearer ", "password=", "//a:", "@", "-----BEGIN PRIVATE KEY-----", '"', "'", "?a=", "&"),
        *('"pin":', '"secret":[', "'jwt':{", '\\"otp\\":\\"', "]", "}", ",", ":", "null", "\n"),
        *("4111 1111 ", "eyJ", ".", "hmac-sha256:1:", "[REDACTED]", "\\", "DE89", " ", "%41", "="),
    ]
)
hostile = st.lists(pieces | st.text(st.characters(codec=None)), max_size=8).map("".join)


# The first use of a combination of patterns compiles it.
@settings(deadline=None)
@given(hostile)
def test_any_text_is_redacted_once_and_for_all_and_within_bounds(text):
    for redactor in (keyless, keyed):
        for redact in (redactor.redact_text, redactor.redact_json_text, redactor.redact_query):
            redacted = redact(text)
            assert redact(redacted) == redacted
            assert len(redacted) <= 12 * len(text) + LONGEST_TAG


@settings(deadline=None)
@given(st.sampled_from(SECRETS), hostile)
def test_no_secret_survives_beside_other_text(secret, text):
    around, value = secret
    assume(value not in text)

    redacted = keyed.redact_text(f"{text}\n{around.format(value)}")

    assert len(value) < 6 or value not in redacted


REPEATED = """
a|eyJ|-eyJ|eyJaaaaaa.|Bearer |Bearer aaaaaaaa |password=|password='|password="|https://|//a:|//a:b@|4111|4-
DE89 |DE89DE89 |-----BEGIN PRIVATE KEY-----|sk-|sk-aaaaaaaaaaaaaaaaaaaa.|SG.aaaaaaaaaaaaaaaaaaaa.|?a=|;a=
&token=|Cookie: |Cookie: a="|="|password="\\|token |Basic aaaa |AKIA|K|\\|password=\\|9:AA|hmac-sha256:1:|{"|[|//|5Ka1|AIza|:|=|%5B|1-|+| |%2525
"pin":|"pin":"|"pin":"\\|"pin":["|'pin':{|"pin":[REDACTED]|\\"pin\\":\\"|"a":"|"a":["|'a':"\\|"aaaaaaaaaaaaaaaaaaaa|"":|"pin":'"
""".strip().replace("\n", "|")


@pytest.mark.parametrize("piece", REPEATED.split("|"))
def test_hostile_text_takes_time_in_proportion_to_its_length(piece):
    def best_seconds(size):
        text = piece * (size // len(piece))
        both = {"note": text, "password": text}
        return min(seconds(lambda: keyed.redact(both)) for _ in range(3))

    # Quadratic work would be 16 times as much; what is too quick to measure is no trouble.
    assert best_seconds(262_144) < 10 * max(best_seconds(65_536), 0.005)


def test_a_megabyte_of_everything_is_redacted():
    text = REPEATED.replace("|", "") * (1_000_000 // len(REPEATED))

    assert keyed.redact_text(text)
    assert keyed.redact_json_text(json.dumps({"note": text}))


def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def test_further_names_and_patterns_are_rules_too():
    rules = make_rules(["trading pin", "mandate"], {"mandate": r"MND-\d{6}"})
    redactor = Redactor(None, rules)

    assert redactor.redact({"mandateRef": 1, "command": 2}) == {
        "mandateRef": REDACTED,
        "command": 2,
    }
    assert redactor.redact_text('{"mandateRef":"x","command":"y') == (
        f'{{"mandateRef":"{REDACTED}","command":"y'
    )
    assert redactor.redact_text("/a?mandate=x&b=1") == f"/a?mandate={REDACTED}&b=1"
    assert redactor.redact_text("under MND-123456 since") == f"under {REDACTED} since"
