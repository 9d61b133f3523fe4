import json
import socket
import threading
import time

import pytest

from compliance_site.foundation import webhook
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.delivery.destinations import calls
from secrets_rotation.delivery.destinations.webhook import Webhook
from secrets_rotation.exceptions import DeliveryError
from tests.secrets_rotation.delivery.conftest import VALUE, destination, serving

KEY = "a key of the test, long enough"


class Receiver:
    """Answers as told, and keeps what it was sent."""

    def __init__(self, status=204, **headers):
        self.answer = status, headers, b""
        self.requests = []

    def __call__(self, method, path, headers, body):
        self.requests.append((method, path, headers, body))
        return self.answer


def deliver(url, parcel, **given):
    destination("webhook", url=f"{url}/secrets", signingKey=KEY, **given).deliver(parcel)


def test_the_version_arrives_signed(make_parcel):
    receiver = Receiver()
    with serving(receiver) as url:
        deliver(url, make_parcel(3, earlier=2), previous=True)

    [(method, path, headers, body)] = receiver.requests
    assert (method, path) == ("POST", "/secrets")
    assert webhook.verify(headers, body, [SecretText(KEY)])
    assert json.loads(body) == {
        "type": "secret.version",
        "data": {
            "secretType": "DATABASE",
            "secretName": "abtpro_db",
            "version": 3,
            "username": "app_3",
            "value": VALUE.format(3),
            "previous": {"version": 2, "username": "app_2", "value": VALUE.format(2)},
        },
    }


def test_the_same_version_again_has_the_same_id_and_body(make_parcel):
    receiver = Receiver()
    with serving(receiver) as url:
        deliver(url, make_parcel(3))
        deliver(url, make_parcel(3))
        deliver(url, make_parcel(3, value="another, of a console that was restored"))

    first, second, third = (
        (headers["webhook-id"], body) for _, _, headers, body in receiver.requests
    )
    assert first == second
    assert first[0] != third[0]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500, 503])
def test_any_other_answer_is_a_failure(make_parcel, status):
    with serving(Receiver(status)) as url, pytest.raises(DeliveryError, match=f"answered {status}"):
        deliver(url, make_parcel())


def test_a_redirect_is_not_followed(make_parcel):
    other = Receiver()
    with (
        serving(other) as elsewhere,
        serving(Receiver(307, Location=elsewhere)) as url,
        pytest.raises(DeliveryError, match="redirect"),
    ):
        deliver(url, make_parcel())

    assert other.requests == []


def test_a_receiver_that_drips_does_not_prolong_the_deadline(make_parcel, monkeypatch):
    """It would take a minute; the delivery may take a third of a second in all."""
    monkeypatch.setattr(calls, "DEADLINE", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip():
        connection, _ = listener.accept()
        with connection:
            try:
                for sign in b"HTTP/1.1 204 No Content\r\nX-Slow: " + b"x" * 600:
                    connection.send(bytes([sign]))
                    if over.wait(0.1):
                        break
            except OSError:
                pass

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with pytest.raises(DeliveryError, match="did not answer within"):
        deliver(f"http://127.0.0.1:{listener.getsockname()[1]}", make_parcel())
    took = time.monotonic() - began
    over.set()
    thread.join()
    listener.close()

    assert took < 3


def test_nobody_there_is_a_reason(make_parcel):
    with pytest.raises(DeliveryError, match="could not be connected to"):
        deliver("http://127.0.0.1:1", make_parcel())


def test_settings_that_cannot_work_are_named():
    given = {"url": "http://user:password@host/", "signingKey": SecretText("short")}

    assert Webhook.problems(given).keys() == {"url", "signingKey"}
