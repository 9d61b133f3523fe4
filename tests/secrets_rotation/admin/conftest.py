import pytest
from django.test import Client

from compliance_site.foundation.roles import Role
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.models import Consumer, TargetCredential, Trigger
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start

# Whatever of a secret could be seen holds this.
MARKER = "Zq7-marker-of-values.Kx3"
STRONG = f"{MARKER}-vigilant-otter-93"


@pytest.fixture
def officer(client_as):
    return client_as(Role.SECURITY_OFFICER)


@pytest.fixture
def reader(make_user):
    """A browser of an auditor, beside the officer's."""
    browser = Client()
    browser.force_login(
        make_user("reader", Role.AUDITOR), backend="django.contrib.auth.backends.ModelBackend"
    )
    return browser


@pytest.fixture
def rotated(make_secret):
    """Rotate secrets so many times, to values that are recognised; return the last run."""

    def rotate(name="postgres_password", times=1, **options):
        secret = make_secret(name, **options)
        for number in range(times):
            value = SecretText(f"{STRONG}-{name}-{number}")
            run = start(secret, trigger=Trigger.MANUAL, supplied=value)
            machine.advance(run.pk)
        run.refresh_from_db()
        return run

    return rotate


@pytest.fixture
def make_consumer():
    def make(secret, name="billing", **overrides):
        return Consumer.objects.create(secret=secret, name=name, delivery="none", **overrides)

    return make


@pytest.fixture
def store_credential():
    def store(secret):
        row = TargetCredential(secret=secret)
        row.seal(SecretText(f'{{"adminPassword": "{MARKER}-admin"}}'))
        row.save(force_insert=True)

    return store


def text_of(answer):
    return answer.content.decode()


def title_of(answer):
    heading = text_of(answer).split("<h1>")[1].split("</h1>")[0]
    return " ".join(heading.split())
