import ipaddress

import pytest

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation import declared
from secrets_rotation.exceptions import LeaseLostError, TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators.base import Answer, Credential
from secrets_rotation.rotators.http_api import HttpApi
from tests.local_servers import serving
from tests.secrets_rotation.rotators.key_server import ADMIN, KeyServer

OLD = Credential("", SecretText("old-value-of-the-key"), 1)
NEW = Credential("", SecretText("new-value-of-the-key"), 2)


class Held:
    """A lease that is held; it counts how often that was asked."""

    def __init__(self, seconds=60.0):
        self.seconds, self.confirmed = seconds, 0

    def confirm(self):
        self.confirmed += 1

    def seconds_left(self):
        return self.seconds


class Lost(Held):
    def confirm(self):
        raise LeaseLostError


@pytest.fixture(autouse=True)
def allowed(settings):
    settings.OUTGOING_ALLOWED_NETWORKS = [ipaddress.ip_network("127.0.0.1/32")]


@pytest.fixture
def server():
    with serving(KeyServer()) as running:
        running.keys["key-1"] = OLD.value.reveal()
        yield running


def target_of(url, **overrides):
    admin = {"Authorization": "Bearer {admin_token}"}
    given = {
        "create": {
            "method": "POST",
            "url": f"{url}/keys",
            "headers": admin,
            "json": {"name": "key-{version}", "secret": "{value}", "scopes": ["read", 1, None]},
        },
        "verify": {"url": f"{url}/me", "headers": {"Authorization": "Bearer {value}"}},
        "revoke": {"method": "DELETE", "url": f"{url}/keys/key-{{version}}", "headers": admin},
        "credentials": {"admin_token": ADMIN},
    } | overrides
    checked = declared.check(HttpApi.settings, given)
    assert ADMIN not in str(checked.shown)
    return declared.merged(HttpApi.settings, checked.shown, checked.sealed)


@pytest.fixture
def rotator(server):
    target = target_of(server.url)
    assert HttpApi.problems(target) == {}
    return HttpApi(target)


def test_a_key_is_made_beside_the_old_one_and_the_old_one_ended(rotator, server):
    guard = Held()
    assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.WORKS, Answer.REFUSED)

    rotator.set(NEW, OLD, guard)
    assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.WORKS, Answer.WORKS)

    rotator.revoke(OLD, NEW, guard)
    assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.REFUSED, Answer.WORKS)
    assert guard.confirmed == 2


def test_each_step_may_be_repeated_after_a_crash(rotator, server):
    rotator.set(NEW, OLD, Held())
    with pytest.raises(TargetUnknownError, match="409"):
        rotator.set(NEW, OLD, Held())
    assert rotator.probe(NEW) is Answer.WORKS

    for _ in range(2):
        rotator.discard(NEW, OLD, Held())
        assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.WORKS, Answer.REFUSED)


def test_a_lost_answer_is_unknown_and_the_value_is_there_to_be_tried(rotator, server):
    server.lose_answer = True
    with pytest.raises(TargetUnknownError, match="502"):
        rotator.set(NEW, OLD, Held())
    server.lose_answer = False

    assert rotator.probe(NEW) is Answer.WORKS


@pytest.mark.parametrize("status", [302, 400, 404, 408, 409, 429, 500, 503])
def test_only_a_no_is_taken_for_a_refusal(rotator, server, status):
    server.broken = status

    assert rotator.probe(NEW) is Answer.UNKNOWN


@pytest.mark.parametrize("status", [401, 403])
def test_what_the_api_says_of_the_callers_key_is_a_refusal(rotator, server, status):
    server.broken = status

    assert rotator.probe(OLD) is Answer.REFUSED


@pytest.mark.parametrize("status", [302, 401, 403, 404, 500])
def test_an_unclear_answer_to_create_leaves_the_outcome_open(rotator, server, status):
    server.broken = status

    with pytest.raises(TargetUnknownError, match=str(status)):
        rotator.set(NEW, OLD, Held())


def test_a_rule_of_the_api_is_told_without_the_value(rotator):
    short = Credential("", SecretText("short"), 3)

    with pytest.raises(ValueRefusedError) as refusal:
        rotator.set(short, OLD, Held())

    assert str(refusal.value) == "the API answered 422"


def test_an_end_that_is_not_confirmed_is_unknown(rotator, server):
    server.broken = 500

    for end in (rotator.revoke, rotator.discard):
        with pytest.raises(TargetUnknownError, match="500"):
            end(OLD, NEW, Held())


def test_an_api_that_is_away_is_unknown_and_named_without_secrets(server, rotator):
    server.shutdown()
    server.server_close()

    assert rotator.probe(NEW) is Answer.UNKNOWN
    with pytest.raises(TargetUnknownError) as failure:
        rotator.set(NEW, OLD, Held())
    assert failure.value.reason == f"127.0.0.1:{server.port} could not be connected to"


def test_nothing_is_sent_without_the_lease(rotator, server):
    for act in (rotator.set, rotator.discard, rotator.revoke):
        with pytest.raises(LeaseLostError):
            act(NEW, OLD, Lost())
    assert server.received == []


def test_a_call_ends_before_the_lease_does(rotator, server):
    with pytest.raises(TargetUnknownError):
        rotator.set(NEW, OLD, Held(seconds=0.0))


def test_an_oauth_client_is_verified_by_its_grant(server):
    target = target_of(
        server.url,
        username="my client",
        verify={
            "method": "POST",
            "url": f"{server.url}/token",
            "form": {"grant_type": "client_credentials"},
            "basic": ["{username}", "{value}"],
        },
    )
    rotator = HttpApi(target)

    username = rotator.next_username("")

    assert HttpApi.problems(target) == {}
    assert username == "my client"
    assert rotator.probe(Credential(username, OLD.value, 1)) is Answer.WORKS
    assert rotator.probe(Credential(username, NEW.value, 2)) is Answer.REFUSED


def test_what_is_filled_in_is_not_looked_at_again_and_cannot_leave_its_place(server):
    target = target_of(server.url, revoke={"url": f"{server.url}/keys/{{username}}?q={{username}}"})
    odd = Credential("../a b?{value}&x=1", SecretText("{admin_token}"), 4)
    rotator = HttpApi(target)

    rotator.probe(odd)
    rotator.set(odd, None, Held())
    server.broken = 500
    with pytest.raises(TargetUnknownError):
        rotator.revoke(odd, OLD, Held())

    encoded = "..%2Fa%20b%3F%7Bvalue%7D%26x%3D1"
    paths = [each.path for each in server.received]
    assert server.received[0].headers["authorization"] == "Bearer {admin_token}"
    assert server.keys["key-4"] == "{admin_token}"
    assert f"/keys/{encoded}?q={encoded}" in paths


def test_a_content_type_of_ones_own_takes_the_place_of_the_usual_one(server):
    create = {"method": "POST", "url": f"{server.url}/keys", "json": {}}
    create["headers"] = {"CONTENT-TYPE": "application/vnd.example+json"}
    server.broken = 204

    HttpApi(target_of(server.url, create=create)).set(NEW, OLD, Held())

    assert server.received[0].headers["content-type"] == "application/vnd.example+json"


def test_a_value_that_is_no_header_is_not_shown(rotator, server):
    odd = Credential("", SecretText("hunter2\r\nX-Admin: 1"), 5)

    assert rotator.probe(odd) is Answer.UNKNOWN
    assert server.received == []


@pytest.mark.parametrize(
    ("setting", "call", "problem"),
    [
        ("create", {"url": "https://api.example/?key={value}"}, "must not be in 'url'"),
        ("create", {"url": "https://api.example/{admin_token}"}, "must not be in 'url'"),
        ("create", {"url": "https://{username}.example/"}, "host of 'url' cannot be filled in"),
        ("create", {"url": "https://user:pw@api.example/"}, "must not hold a user name"),
        ("create", {"url": "ftp://api.example/"}, "has to begin with https"),
        ("create", {"url": "https://0x7f.1/"}, "four decimal numbers"),
        ("create", {}, "has to begin with https"),
        ("create", {"url": "https://api.example/", "path": "/"}, "Unknown key 'path'"),
        ("create", {"url": "https://api.example/", "method": "TRACE"}, "'method' is one of"),
        ("create", {"url": "https://api.example/", "headers": []}, "wrong kind"),
        ("create", {"url": "https://api.example/", "headers": {"A": 1}}, "hold texts"),
        ("create", {"url": "https://api.example/", "basic": ["a"]}, "a user and a password"),
        ("create", {"url": "https://api.example/", "json": {}, "form": {}}, "not both"),
        (
            "create",
            {
                "url": "https://api.example/",
                "basic": ["a", "b"],
                "headers": {"authorization": "{value}"},
            },
            "not both",
        ),
        ("create", {"url": "https://api.example/", "json": {"a": ["{nothing}"]}}, "{nothing}"),
        ("create", {"url": "https://api.example/", "json": "{current}"}, "{current}"),
        ("verify", {"url": "https://api.example/", "json": "{previous}"}, "{previous}"),
        ("verify", {"url": "https://api.example/", "headers": {"Host": "x"}}, "Host cannot be set"),
        (
            "verify",
            {"url": "https://api.example/", "headers": {"X-Api-Key": "hunter2"}},
            "into 'credentials'",
        ),
        ("credentials", {"value": SecretText("x")}, "cannot be the name"),
        ("credentials", {"a b": SecretText("x")}, "cannot be the name"),
        ("credentials", {"a": {"b": SecretText("x")}}, "not a text"),
        ("refused", [], "400 to 499"),
        ("refused", [401, 500], "400 to 499"),
        ("refused", [429], "400 to 499"),
        ("refused", [True], "400 to 499"),
    ],
)
def test_a_call_that_cannot_be_is_refused_with_the_reason(setting, call, problem):
    target = target_of("https://api.example")
    problems = HttpApi.problems(target | {setting: call})

    assert problem in problems[setting]
    assert "hunter2" not in str(problems)


def test_the_principal_is_the_place_without_what_may_be_secret():
    calls = {"create": {"url": "https://api.example/keys?a=1"}}

    principal = HttpApi(target_of("https://api.example", username="me", **calls)).principal()

    assert principal == "http_api https://api.example/keys me"
