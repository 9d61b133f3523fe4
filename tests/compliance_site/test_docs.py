import pytest
import yaml
from django.core.management import call_command

from compliance_site.foundation.roles import Role

pytestmark = pytest.mark.django_db

DOCUMENTED = {
    "/audit/logs": {"userId", "action", "resource", "startDate", "endDate", "page", "limit"},
    "/audit/export": {"format", "startDate", "endDate", "userId"},
}


def test_the_schema_is_complete_and_valid(capsys):
    call_command("spectacular", "--validate", "--fail-on-warn")


def test_the_schema_names_the_documented_parameters(api_as):
    schema = yaml.safe_load(api_as(Role.OPERATOR).get("/api/schema").content)

    for path, documented in DOCUMENTED.items():
        parameters = {each["name"] for each in schema["paths"][path]["get"]["parameters"]}
        assert documented <= parameters
    assert set(schema["components"]["securitySchemes"]) == {"token", "session"}


def test_the_docs_page_loads_nothing_from_elsewhere(client_as):
    page = client_as(Role.AUDITOR).get("/api/docs").content.decode()

    assert "swagger" in page
    assert "https://" not in page
