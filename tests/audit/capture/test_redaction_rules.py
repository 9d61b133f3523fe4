import json

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from audit.capture.redaction import RuleError, make_rules
from audit.capture.redaction.configured import configured_redactor


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "(a+)+", "(a|aa)*b", "(x*)*", r"(\d{1,30}-?){2,}", "a*", "", "(?P<a>.)("]
)
def test_a_pattern_that_cannot_be_used_is_refused_by_its_name(pattern):
    with pytest.raises(RuleError, match="mandates"):
        make_rules(patterns={"mandates": pattern})


@pytest.mark.parametrize("pattern", [r"MND-\d{6}", r"(?:AB|CD)\d+", r"(?:\d{1,3}\.){3}\d{1,3}"])
def test_ordinary_patterns_are_accepted(pattern):
    assert make_rules(patterns={"mandates": pattern}).patterns


def test_a_name_without_a_letter_is_refused():
    with pytest.raises(RuleError, match="12"):
        make_rules(["12"])


def test_rules_come_from_the_settings_and_from_the_file(settings, tmp_path):
    (tmp_path / "rules.json").write_text(
        json.dumps({"names": ["mandate"], "patterns": {"mandates": "MND-[0-9]{2,6}"}})
    )
    settings.AUDIT_REDACTION_EXTRA_NAMES = ["depot"]
    settings.AUDIT_REDACTION_EXTRA_PATTERNS = ["DEP-[0-9]+"]
    settings.AUDIT_REDACTION_RULES = tmp_path / "rules.json"

    redactor = configured_redactor()

    assert redactor.is_sensitive("depotNo")
    assert redactor.is_sensitive("mandate")
    assert redactor.redact_text("MND-123 DEP-1").count("hmac-sha256:1:") == 2


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("AUDIT_REDACTION_EXTRA_PATTERNS", ["(a+)+"], r"\(a\+\)\+"),
        ("AUDIT_REDACTION_EXTRA_NAMES", ["-"], "-"),
        ("AUDIT_REDACTION_RETIRED_KEYS", "hunter2", "AUDIT_REDACTION_RETIRED_KEYS"),
        ("AUDIT_REDACTION_RETIRED_KEYS", "1:hunter2", "AUDIT_REDACTION_RETIRED_KEYS"),
    ],
)
def test_a_mistake_is_reported_and_stops_the_start(settings, setting, value, named):
    setattr(settings, setting, value)

    with pytest.raises(ImproperlyConfigured, match=named) as error:
        configured_redactor()
    (report,) = [report for report in run_checks() if report.id == "audit.E002"]

    assert "hunter2" not in str(error.value)
    assert report.msg == str(error.value)


@pytest.mark.parametrize("text", ["", "[]", '{"patterns": []}', '{"names": [1]}', '{"nmes": []}'])
def test_a_file_that_holds_no_rules_is_refused(settings, tmp_path, text):
    settings.AUDIT_REDACTION_RULES = tmp_path / "rules.json"
    settings.AUDIT_REDACTION_RULES.write_text(text)

    with pytest.raises(ImproperlyConfigured, match="AUDIT_REDACTION_RULES"):
        configured_redactor()


def test_the_key_is_derived_or_set_and_never_the_secret_key(settings):
    derived = configured_redactor().tags_of("x")
    settings.AUDIT_REDACTION_KEY = settings.SECRET_KEY
    as_is = configured_redactor().tags_of("x")
    settings.AUDIT_REDACTION_KEY = "another"
    settings.AUDIT_REDACTION_KEY_VERSION = 2
    settings.AUDIT_REDACTION_RETIRED_KEYS = f"1:{settings.SECRET_KEY}"

    both = configured_redactor().tags_of("x")

    assert derived != as_is
    assert both[0].startswith("hmac-sha256:2:")
    assert both[1:] == as_is
