"""The quick check and `EventSerializer` agree: one of them decides, the other is only faster."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from audit.api.event_check import READERS, checked, plainly_good
from audit.api.event_serializer import EventSerializer

GOOD = {
    "id": "e-1",
    "source": "trading-api",
    "occurredAt": "2025-11-09T10:29:59.5Z",
    "userId": 7,
    "actor": "j.ortiz",
    "actorType": "user",
    "action": "CREATE",
    "resource": "/bot/start",
    "route": "/bot/{name}",
    "query": "a=1",
    "method": "POST",
    "statusCode": 200,
    "ipAddress": "192.168.1.100",
    "userAgent": "Mozilla/5.0",
    "requestData": {"strategy": "RSI_CROSS"},
    "requestId": "req-12345678",
    "durationMs": 18,
}
VALUES = [
    None,
    "",
    " ",
    "x",
    " x ",
    "CREATE",
    "CREATE\n",
    " CREATE",
    "post",
    "x" * 100,
    "x" * 101,
    "x" * 201,
    "x" * 2001,
    "x" * 4001,
    " " * 5000,
    "a\0b",
    "\ud800",
    "ü€😀",
    0,
    1,
    99,
    100,
    599,
    600,
    -1,
    2**31,
    2**63 - 1,
    2**63,
    10**400,
    1.0,
    1.5,
    1e999,
    "7",
    True,
    False,
    [],
    {},
    {"a": [1, {"b": None}]},
    {"a": 1e999},
    [[[["deep"]]]],
    "user",
    "robot",
    "127.0.0.1",
    " 127.0.0.1",
    "127.0.0.256",
    "::1",
    "2001:DB8::0001",
    "::ffff:1.2.3.4",
    "fe80::1%eth0",
    "1.2.3.4:80",
    "2025-11-09",
    "2025-11-09T10:00:00",
    "2025-11-09T10:00:00Z",
    "2025-11-09 10:00:00+01:00",
    "20251109T100000Z",
    "2025-W45-7T10:00:00Z",
    "2025-11-09T10:00:00.123456789Z",
    "2025-11-09T24:00:00Z",
    "2025-02-30T10:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2025-11-09T10:00:00-00:00",
]
WHOLE = [
    None,
    [],
    7,
    "text",
    {},
    GOOD,
    {"resource": "/x", "action": "A"},
    {"resource": "/x", "method": "get"},
    {"resource": "/x"},
    {"resource": "/x", "method": None},
    {"action": "A"},
    GOOD | {"unknown": 1},
    GOOD | {"event_id": "x"},
]


def outcome(validate, body):
    try:
        return "good", validate(body)
    except ValidationError as refusal:
        return "bad", json.dumps(refusal.detail)


def by_serializer(body):
    serializer = EventSerializer(data=body)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def assert_same(body):
    expected = outcome(by_serializer, body)
    assert outcome(lambda body: dict(checked(body)), body) == expected
    quick = plainly_good(body)
    assert quick is None or ("good", quick) == expected


@pytest.mark.parametrize("body", WHOLE, ids=repr)
def test_they_agree_on_whole_events(body):
    assert_same(body)


@pytest.mark.parametrize("name", READERS)
def test_they_agree_on_every_field(name):
    for value in VALUES:
        assert_same(GOOD | {name: value})
        assert_same({"resource": "/x", "action": "A"} | {name: value})
    assert_same({key: value for key, value in GOOD.items() if key != name})


def test_every_field_of_the_serializer_is_known_under_the_same_name():
    fields = EventSerializer().fields

    assert {name: field.source for name, field in fields.items()} == {
        name: source for name, (source, _) in READERS.items()
    }


def test_what_services_send_needs_no_second_look():
    assert plainly_good(GOOD) is not None
    assert plainly_good(dict.fromkeys(GOOD) | {"id": "e", "source": "s", "action": "A"}) is None
    nullable = dict.fromkeys(GOOD.keys() - {"id", "source", "action"})
    assert plainly_good(nullable | {"action": "A", "resource": "/x"}) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(list(READERS)), json_values | st.sampled_from(VALUES)))
def test_they_agree_on_anything(fields):
    assert_same({"resource": "/x", "action": "A"} | fields)
