import pytest
from django.test import RequestFactory
from django.views.debug import get_exception_reporter_class, technical_500_response

# Not in one piece: a report quotes source lines, this one too.
VALUE = "-".join(["correct", "horse", "battery", "staple", "93"])


def broken(value):
    raise RuntimeError("it broke")


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_report_shows_where_it_broke_and_no_variable(settings, debug, accept):
    settings.DEBUG = debug
    request = RequestFactory().post("/secrets/rotation/rotate", {"newValue": VALUE, "a": "b"})
    request.META["HTTP_ACCEPT"] = accept
    with pytest.raises(RuntimeError) as raised:
        broken(VALUE)
    failure = (raised.type, raised.value, raised.tb)

    page = technical_500_response(request, *failure).content.decode()
    reporter = get_exception_reporter_class(request)(request, *failure)

    for report in (page, reporter.get_traceback_text(), reporter.get_traceback_html()):
        assert "broken" in report
        assert VALUE not in report
