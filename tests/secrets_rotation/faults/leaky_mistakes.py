"""Values and credentials where people and programs put them by mistake."""

import json
import secrets

from tests.secrets_rotation.faults.leaky_rotations import ROTATE, add, api_target, rotate, settle


def rotate_badly(console, marks):
    """Supply values that are refused, at every place that a value could be put by mistake."""
    weak = marks.add("supplied and weak", "zebrazebrazebrazebra")
    assert rotate(console, "db", newValue=weak).json()["error"]["code"] == "value_strength"
    by_target = marks.new("supplied and refused by the target", prefix="Refuse")
    assert rotate(console, "hook", newValue=by_target).json()["error"]["code"] == "rotation_refused"
    assert rotate(console, "nobody", newValue=marks.new("for no secret")).status_code == 404
    long = marks.add("5,000 signs", secrets.token_hex(2_500))
    assert rotate(console, "db", newValue=long).status_code == 400
    for value in ([marks.new("in a list")], {"a": marks.new("in an object")}):
        assert rotate(console, "db", newValue=value).status_code == 400
    for name in ("newvalue", "new_value", "value", "NewValue"):
        # What is not known by any name is ignored: the console makes a value itself.
        assert rotate(console, "api", **{name: marks.new("under another name")}).is_success
        settle(console)
    for name in ("secretType", "secretName"):
        mark = marks.new("in the place of a name")
        rotate(console, "db", **{name: mark})
    stranger = console.signed_in("auditor")
    assert (
        rotate(console, "db", client=stranger, newValue=marks.new("by nobody")).status_code == 403
    )
    nobody = {"newValue": marks.new("by nobody"), "secretName": "db"}
    headers = {"Authorization": "Token wrong"}
    assert console.ask("POST", ROTATE, json=nobody, headers=headers).status_code == 401


def ask_badly(console, marks, ids):
    """Send values in requests that are no right requests at all."""
    mark = lambda: marks.new("in a broken request")  # noqa: E731
    json_type = {"Content-Type": "application/json"}
    bodies = (
        f'{{"secretName": "db", "newValue": "{mark()}',
        f"{{'newValue': '{mark()}'}}",
        f'{{"newValue": {mark()}}}',
        mark(),
        b'{"newValue": "\xff' + mark().encode() + b'"}',
        json.dumps({"newValue": mark()}).encode("utf-16"),
        json.dumps([mark()]),
        json.dumps({mark(): "newValue"}),
        f'{{"newValue": "\\ud800{mark()}"}}',
        f'{{"newValue": "\\u0000{mark()}"}}',
    )
    for body in bodies:
        assert 400 <= console.ask("POST", ROTATE, content=body, headers=json_type).status_code < 500
    console.ask("POST", ROTATE, data={"newValue": mark()})
    console.ask("POST", ROTATE, files={"newValue": ("a.txt", mark().encode())})
    console.ask("POST", ROTATE, content=mark(), headers={"Content-Type": "text/plain"})
    for method in ("PUT", "PATCH", "DELETE"):
        console.ask(method, ROTATE, json={"newValue": mark()})
    console.ask("DELETE", f"/secrets/{ids['person']}", json={"newValue": mark()})
    for address in (f"{ROTATE}/", f"/{ROTATE}", "/secrets/rotate", "/secret/rotation/rotate"):
        console.ask("POST", address, json={"secretName": "db", "newValue": mark()})
    console.ask("POST", "/secret/rotation/rotate", json={"newvalue": mark()})
    console.ask("POST", "/secret/rotation/rotate", content=f'{{"newValue": "{mark()}')
    console.ask("POST", f"{ROTATE}?newValue={mark().replace('&', '')}", json={})
    bad_settings(console, marks, ids)


def bad_settings(console, marks, ids):
    mark = lambda: marks.new("a wrong setting")  # noqa: E731
    good = api_target(console.keys.url, mark())
    login = {"host": "127.0.0.1", "adminUser": "a", "username": "b"}
    targets = (
        ("postgresql_role", login | {"adminPasswrd": mark()}),
        ("postgresql_role", login | {"adminPassword": [mark()]}),
        ("postgresql_role", login | {"adminPassword": mark(), "port": "x"}),
        ("http_api", good | {"credentials": [mark()]}),
        ("http_api", good | {"credentials": {"value": mark()}}),
        ("http_api", good | {"credentials": {"admin_token": {"deep": mark()}}}),
        ("http_api", good | {"verify": {"url": "x", "headers": {"Authorization": mark()}}}),
        ("http_api", good | {"verify": {"url": f"https://u:{mark()}@x.example/"}}),
        ("supplied", {"adminPassword": mark()}),
        ("suplied", {"adminPassword": mark()}),
        ("leaky", {"adminPassword": mark()}),
        ("leaky", mark()),
    )
    for rotator, target in targets:
        body = {"secretType": "DATABASE", "secretName": "bad", "rotator": rotator, "target": target}
        answer = console.ask("POST", "/secrets", json=body)
        assert 400 <= answer.status_code < 500, (target, answer.text)
    for end in ("\ud800", "\x00"):
        target = api_target(console.keys.url, mark() + end)
        body = {"secretType": "DATABASE", "secretName": "odd", "rotator": "http_api"}
        assert console.ask("POST", "/secrets", json=body | {"target": target}).status_code == 400
    for number, end in enumerate(("\n", "é")):
        name, token = f"odd_{number}", mark() + end
        add(console, name, "http_api", api_target(console.keys.url, token))
        rotate(console, name)
        rotate(console, name, newValue=mark())
    consumers = (
        (
            "webhook",
            {
                "url": console.receiver.url,
                "signingKey": marks.new("a wrong setting", signs="")[:20],
            },
        ),
        ("webhook", {"url": console.receiver.url, "signingkey": mark()}),
        ("webhook", {"url": f"https://u:{mark()}@x.example/", "signingKey": mark()}),
        ("file", {"path": "x", "signingKey": mark()}),
        ("fille", {"signingKey": mark()}),
    )
    for delivery, destination in consumers:
        body = {"name": "bad", "delivery": delivery, "destination": destination}
        answer = console.ask("POST", f"/secrets/{ids['db']}/consumers", json=body)
        assert 400 <= answer.status_code < 500, (destination, answer.text)
