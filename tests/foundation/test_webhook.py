import base64
import hashlib
import hmac

import pytest

from compliance_site.foundation.secret_text import SecretText
from compliance_site.foundation.webhook import WebhookKeyError, post, signed_headers, verify
from tests.local_servers import HttpServer, serving

KEY = SecretText("a key of twenty-four bytes or more")
OLD = SecretText("whsec_" + base64.b64encode(b"k" * 24).decode())


def test_the_signature_is_that_of_standard_webhooks():
    # The example of the specification's reference libraries.
    key = SecretText("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', key, timestamp=1614265330
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_key_that_is_no_base64_signs_with_its_bytes():
    headers = signed_headers("id", b"body", KEY, timestamp=7)

    digest = hmac.digest(KEY.reveal().encode(), b"id.7.body", hashlib.sha256)
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_a_receiver_verifies_with_any_of_its_keys():
    headers = signed_headers("id", b"body", OLD, timestamp=1_000)

    assert verify(headers, b"body", [KEY, OLD], now=1_299)
    both = headers | {"webhook-signature": f"v1,AAAA v9,x {headers['webhook-signature']}"}
    assert verify(both, b"body", [OLD], now=1_000)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "other"},
        {"webhook-timestamp": "1001"},
        {"webhook-timestamp": "x"},
        {"webhook-timestamp": "٣"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,ä"},
        {"webhook-signature": "v1a,AAAA"},
    ],
)
def test_what_was_changed_is_not_verified(change):
    headers = signed_headers("id", b"body", KEY, timestamp=1_000)

    assert not verify(headers | change, b"body", [KEY], now=1_000)


def test_another_body_key_or_time_is_not_verified():
    headers = signed_headers("id", b"body", KEY, timestamp=1_000)

    assert not verify(headers, b"other", [KEY], now=1_000)
    assert not verify(headers, b"body", [OLD], now=1_000)
    assert not verify(headers, b"body", [], now=1_000)
    assert not verify(headers, b"body", [KEY], now=1_301)
    assert not verify(headers, b"body", [KEY], now=699)
    assert not verify({}, b"body", [KEY])


@pytest.mark.parametrize("text", ["", "too short", "whsec_" + "A" * 8, "whsec_ä!"])
def test_a_key_that_cannot_sign_is_refused_without_being_shown(text):
    with pytest.raises(WebhookKeyError) as refusal:
        signed_headers("id", b"body", SecretText(text))

    assert not text or text not in str(refusal.value)


def test_a_posted_payload_arrives_verifiable():
    with serving(HttpServer(lambda received: (204, {}, b""))) as server:
        answer = post(f"{server.url}/hook", message_id="m-1", payload={"a": "ü"}, key=KEY)

    (received,) = server.received
    assert answer.is_success
    assert verify(received.headers, received.body, [KEY])
    assert received.headers["webhook-id"] == "m-1"
