import pytest

from compliance_site.foundation.notices.outbox import notify
from tests.local_servers import HttpServer, SmtpServer, serving

KEY = "a key of twenty-four bytes or more"


@pytest.fixture(autouse=True)
def no_channels(settings):
    """Begin without channels, whatever the environment says; mail goes over SMTP."""
    settings.NOTICE_EMAIL_TO = []
    settings.NOTICE_WEBHOOK_URL = settings.NOTICE_WEBHOOK_SECRET = ""
    settings.NOTICE_APPRISE_URLS = []
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_TIMEOUT = 5


@pytest.fixture
def mail_server(settings):
    with serving(SmtpServer()) as server:
        settings.NOTICE_EMAIL_TO = ["ops@example.org", "night@example.org"]
        settings.EMAIL_PORT = server.port
        settings.DEFAULT_FROM_EMAIL = "console@example.org"
        yield server


@pytest.fixture
def receiver(settings):
    """A webhook's receiver, which answers with its `status`."""
    with serving(HttpServer(lambda received: (server.status, {}, b""))) as server:
        server.status = 204
        settings.NOTICE_WEBHOOK_URL = f"{server.url}/hooks/T0KEN"
        settings.NOTICE_WEBHOOK_SECRET = KEY
        yield server


@pytest.fixture
def apprise_receiver(settings):
    with serving(HttpServer(lambda received: (server.status, {}, b""))) as server:
        server.status = 200
        settings.NOTICE_APPRISE_URLS = [f"json://user:T0KEN@127.0.0.1:{server.port}/a"]
        yield server


@pytest.fixture
def say():
    def notice(key="disk-full", **overrides):
        texts = {"subject": "The disk is full", "body": "Nothing can be written to /var."}
        notify("disk", **{"key": key, **texts, **overrides})

    return notice
