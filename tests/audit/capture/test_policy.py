import json

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from audit.capture import policy
from audit.capture.policy import Level, Rule, Strictness
from audit.models import AuditLog, Intent


@pytest.fixture
def rules(settings):
    def set_rules(*rules):
        settings.AUDIT_POLICY = list(rules)
        return policy.load()

    return set_rules


@pytest.mark.parametrize(
    ("rule_path", "path", "matches"),
    [
        ("/health", "/health", True),
        ("/health", "/health/live", True),
        ("/health", "/healthy", False),
        ("/health", "/Health", False),
        ("/orders/", "/orders/", True),
        ("/orders/", "/orders/7", True),
        ("/orders/", "/orders", False),
        ("/", "/anything", True),
        ("/orders/*/fills", "/orders/7/fills", True),
        ("/orders/*/fills", "/orders/7/8/fills", True),
        ("/orders/*/fills", "/orders/7", False),
        ("*.csv", "/export/all.csv", True),
        ("*", "/", True),
    ],
)
def test_a_path_is_a_prefix_of_whole_segments_or_a_glob(rules, rule_path, path, matches):
    found = rules({"path": rule_path, "level": "none"}).rule_for("GET", path)

    assert (found.level is Level.NONE) is matches


def test_the_first_rule_that_matches_decides(rules):
    found = rules(
        {"path": "/bot", "methods": ["POST", "PUT"], "strictness": "write_ahead"},
        {"path": "/bot/start", "level": "none"},
        {"path": "/bot", "level": "request_response"},
    )

    assert found.rule_for("POST", "/bot/start").strictness is Strictness.WRITE_AHEAD
    assert found.rule_for("GET", "/bot/start").level is Level.NONE
    assert found.rule_for("GET", "/bot/stop").level is Level.REQUEST_RESPONSE


@pytest.mark.parametrize("level", ["metadata", "request", "request_response"])
def test_where_no_rule_names_a_level_the_default_counts(rules, settings, level):
    settings.AUDIT_LOG_LEVEL = level
    found = rules({"path": "/bot", "strictness": "write_ahead"})

    assert found.rule_for("GET", "/bot") == Rule("/bot", Level(level), Strictness.WRITE_AHEAD)
    assert found.rule_for("GET", "/other") == Rule("*", Level(level))


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"path": "/a", "pth": 1}, "unknown key 'pth'"),
        ({"level": "none"}, "path None starts with neither / nor *."),
        ({"path": "health"}, "path 'health' starts with neither"),
        ({"path": "/a", "level": "all"}, "level 'all' is not one of none, metadata"),
        ({"path": "/a", "level": ["none"]}, "level ['none'] is not one of"),
        ({"path": "/a", "strictness": "later"}, "strictness 'later' is not one of blocking"),
        (
            {"path": "/a", "level": "none", "strictness": "write_ahead"},
            "level none records nothing",
        ),
        ({"path": "/a", "methods": "POST"}, "methods 'POST' is not a list"),
        ({"path": "/a", "methods": []}, "methods [] is not a list"),
        ({"path": "/a", "methods": ["post"]}, "methods ['post'] is not a list"),
        ("/a", "'/a' is not a dict"),
    ],
)
def test_a_mistake_is_named_by_the_check_and_stops_the_start(rules, rule, problem):
    with pytest.raises(ImproperlyConfigured) as refusal:
        rules({"path": "/fine"}, rule)

    assert f"AUDIT_POLICY, rule 2: {problem}" in str(refusal.value)
    (error,) = run_checks()
    assert (error.id, problem in error.msg) == ("audit.E003", True)
    with pytest.raises(ImproperlyConfigured):
        Client().get("/health")


@pytest.mark.parametrize("level", ["none", "INFO", ""])
def test_a_default_level_that_would_record_nothing_or_is_unknown_is_refused(rules, settings, level):
    settings.AUDIT_LOG_LEVEL = level

    with pytest.raises(ImproperlyConfigured, match=f"AUDIT_LOG_LEVEL: {level!r} is not one of"):
        rules()


def test_a_policy_that_is_no_list_is_refused(settings):
    settings.AUDIT_POLICY = {"path": "/"}

    with pytest.raises(ImproperlyConfigured, match="not a list"):
        policy.load()


def test_the_policy_of_the_console_is_understood_and_its_exclusions_can_be_shown():
    assert run_checks() == []
    assert [rule.path for rule in policy.exclusions()] == ["/health", "/metrics", "/static"]


@pytest.mark.django_db
@pytest.mark.urls("tests.audit.capture.views")
@pytest.mark.parametrize(
    ("level", "request_data", "response_data"),
    [
        ("metadata", '{"_truncated":true,"_bytes":8}', ""),
        ("request", '{"a":1}', ""),
        ("request_response", '{"a":1}', '{"read":8}'),
    ],
)
def test_a_level_says_which_bodies_are_kept_and_sizes_always_are(
    settings, level, request_data, response_data
):
    settings.AUDIT_LOG_LEVEL = level

    Client().post("/echo", {"a": 1}, content_type="application/json")

    log = AuditLog.objects.get()
    assert json.loads(log.request_data) == json.loads(request_data)
    assert log.response_data == response_data
    assert log.response_bytes == len('{"read": 8}')


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "intents"),
    [
        ("POST", "/admin/auth/user/add/", 1),
        ("POST", "/admin/auth/group/1/delete/", 1),
        ("GET", "/admin/auth/user/add/", 0),
        ("POST", "/admin/login/", 0),
    ],
)
def test_changes_of_users_and_roles_are_written_ahead(client, method, path, intents):
    client.generic(method, path)

    assert Intent.objects.count() == intents
