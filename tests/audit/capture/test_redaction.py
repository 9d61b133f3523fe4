import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.capture.redaction import (
    MAX_DEPTH,
    REDACTED,
    TOO_DEEP,
    Redactor,
    is_sensitive_name,
    storable_text,
)

# As inside another service: without a key.
redactor = Redactor()
redact, redact_json_text = redactor.redact, redactor.redact_json_text
redact_query = redactor.redact_query

SENSITIVE = """
password PASSWORD passWord pass_word newPassword user.password userpassword password1 passwords
passwd pwd userPwd db_pass passphrase passcode
secret clientSecret CLIENT_SECRET client-secret secrets
token accessToken access_token ACCESS-TOKEN accesstoken tokens refreshTokens id_token
apiKey api_key api-key API_KEY APIKey apikey X-Api-Key binanceApiKeys apiKEY
auth Authorization proxy-authorization oauth OAuth2 basicauth authCode authentication
credential credentials userCredentials cred
privateKey private_key private.key PRIVATEKEY sshKey signing_key masterKey
otp OTP totp otpCode pin PIN userPin pinCode PINs
cvv cvv2 CVC card cardNumber card_number card_no cardPan pan creditCard cardHolder paymentCard
newValue new_value newvalue NEW-VALUE
session sessionId session_id session_token sessionKey userSession PHPSESSID JSESSIONID cookie Set-Cookie cookies
csrf csrfToken csrfmiddlewaretoken XSRF-TOKEN jwt bearer recovery_code seedPhrase mnemonic
user[password] user[api_key]
"""
# A full-width p, a zero-width space.
SENSITIVE_NAMES = [*SENSITIVE.split(), "api key", "card number", "\uff50assword", "pass\u200bword"]

HARMLESS = """
author authored authors authority authorized isAuthenticated unauthorized coauthor
pinned unpinned spinning shipping pinterest opinion pineapple pint
discard discarded cardinal cardinality wildcard scorecard cardiology
tokenized tokenizer tokenization
oldValue value newValueDate renewValue
possession obsession secretary secretariat usecRetry
key keys cacheKey sort_key publicKey idempotencyKey monkey keyboard
tradingSession marketSession sessionVolume session_high sessionStart sessions session_vwap
cards cardType cardCount dashboardCards panel panX span pandas japan
tokenSymbol token_address baseToken quote_token lpTokens maxTokens total_tokens tokenPrice
pinBar pin_bar
pass_rate passed compass passenger bypass passport
strategy userId amount currency orderId email stopLoss symbol name value description code zipCode
"""


@pytest.mark.parametrize("name", SENSITIVE_NAMES)
def test_a_value_under_a_sensitive_name_is_redacted(name):
    assert redact({name: "hunter2"}) == {name: REDACTED}


@pytest.mark.parametrize("name", HARMLESS.split())
def test_a_value_under_a_harmless_name_stays(name):
    assert redact({name: "hunter2"}) == {name: "hunter2"}


def test_a_sensitive_name_is_recognised_however_long_it_is():
    assert is_sensitive_name("x" * 5000 + "_api_key")


@pytest.mark.parametrize("value", ["", "x", 0, 1234, 1.5, True, False, [1, 2], {"a": 1}])
def test_values_of_every_type_are_redacted(value):
    assert redact({"pin": value}) == {"pin": REDACTED}


def test_null_under_a_sensitive_name_stays_null():
    assert redact({"password": None}) == {"password": None}


def test_secrets_are_found_at_any_depth_and_in_lists():
    body = {"users": [{"name": "a", "login": {"password": "x"}}, [{"otp": 1}]]}

    assert redact(body) == {
        "users": [{"name": "a", "login": {"password": REDACTED}}, [{"otp": REDACTED}]]
    }


def test_json_inside_json_strings_is_redacted():
    inner = json.dumps({"apiKey": "k", "n": 1})
    body = {"payload": json.dumps({"again": inner})}

    redacted = redact(body)

    assert json.loads(json.loads(redacted["payload"])["again"]) == {"apiKey": REDACTED, "n": 1}


def test_a_secret_named_by_a_name_value_pair_is_redacted():
    headers = [{"name": "Authorization", "value": "Bearer x"}, {"name": "Accept", "value": "*/*"}]

    assert redact(headers) == [
        {"name": "Authorization", "value": REDACTED},
        {"name": "Accept", "value": "*/*"},
    ]


def test_json_that_became_a_key_is_redacted():
    form = {'{"password": "x"}': "", '{"password": "x",}': "", "[x]": "y"}

    assert redact(form) == {
        '{"password":"[REDACTED]"}': REDACTED,
        REDACTED: REDACTED,
        "[x]": "y",
    }


def test_what_nests_too_deep_is_cut_off():
    body = current = {}
    for _ in range(MAX_DEPTH * 3):
        current["a"] = {}
        current = current["a"]
    current["password"] = "hunter2"

    text = json.dumps(redact(body))

    assert TOO_DEEP in text
    assert "hunter2" not in text
    assert redact_json_text("[" * 500_000) == f'"{TOO_DEEP}"'


def test_json_text_comes_back_compact_and_readable():
    assert redact_json_text('{ "city": "K\\u00f6ln", "pin": 1 }') == (
        '{"city":"Köln","pin":"[REDACTED]"}'
    )


@pytest.mark.parametrize("text", ["", "plain", "{'a': 1}", '{"a":', "a=1&b=2"])
def test_text_that_is_not_json_comes_back_unchanged(text):
    assert redact_json_text(text) == text


def test_the_first_of_two_equal_keys_does_not_reappear():
    assert redact_json_text('{"a":"secret-1","a":"b"}') == '{"a":"b"}'
    assert redact_json_text('{"s":"{\\"pin\\":\\"7\\",\\"pin\\":null}"}') == (
        '{"s":"{\\"pin\\":null}"}'
    )


def test_numbers_keep_every_digit():
    huge = "9" * 5000

    assert redact_json_text(f'{{"n":{huge},"password":"x"}}') == (
        f'{{"n":"{huge}","password":"[REDACTED]"}}'
    )
    assert redact_json_text("[0.1,1e400,0.12345678901234567890]") == (
        '[0.1,"1e400","0.12345678901234567890"]'
    )


def test_nan_and_infinities_become_strings():
    assert redact([math.nan, math.inf]) == ["nan", "inf"]
    assert redact_json_text('{"a":NaN,"token":-Infinity}') == '{"a":"nan","token":"[REDACTED]"}'


def test_what_postgresql_cannot_store_is_replaced():
    assert storable_text("a\x00b\ud800c😀") == "a\ufffdb\ufffdc😀"
    assert redact_json_text('{"a\\u0000":"\\ud800\\u0000"}') == '{"a\ufffd":"\ufffd\ufffd"}'


@pytest.mark.parametrize(
    ("query", "redacted"),
    [
        ("", ""),
        ("b=2&a=1&b=3&empty=&flag", "b=2&a=1&b=3&empty=&flag"),
        ("q=K%C3%B6ln+am%20Rhein", "q=K%C3%B6ln+am%20Rhein"),
        ("a=1&password=x%26y&password=", "a=1&password=%5BREDACTED%5D&password=%5BREDACTED%5D"),
        ("user%5Bapi%5Fkey%5D=x", "user%5Bapi%5Fkey%5D=%5BREDACTED%5D"),
        ("p=%7B%22otp%22%3A+1%7D", "p=%7B%22otp%22:%22%5BREDACTED%5D%22%7D"),
        ('{"password":"x"}', "%7B%22password%22:%22%5BREDACTED%5D%22%7D"),
        ("author=me&a\x00=1", "author=me&a\ufffd=1"),
        ("token=%zz&%=%", "token=%5BREDACTED%5D&%=%"),
    ],
)
def test_query_strings_are_redacted_in_place(query, redacted):
    assert redact_query(query) == redacted


any_text = st.text(st.characters(codec=None)) | st.sampled_from(["pin", '{"pin":1}', "[", '"'])
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: (
        st.lists(inner) | st.dictionaries(any_text, inner) | inner.map(lambda v: json.dumps(v))
    ),
)


@given(any_json)
def test_redaction_is_total_idempotent_and_storable(value):
    redacted = redact(value)
    text = redact_json_text(json.dumps(value))

    assert redact(redacted) == redacted
    assert redact_json_text(text) == text
    assert json.loads(text) == redacted
    assert storable_text(text) == text


@given(any_text)
def test_redaction_of_any_text_is_total_and_idempotent(text):
    assert redact_query(redact_query(text)) == redact_query(text)
    assert redact_json_text(redact_json_text(text)) == redact_json_text(text)


@given(any_json, st.sampled_from(SENSITIVE_NAMES))
def test_no_secret_survives_wherever_it_stands(value, name):
    body = {"a": [value, json.dumps({"b": [{name: "hunter2-canary"}]})], name: value}

    assert "hunter2-canary" not in redact_json_text(json.dumps(body))
