import ipaddress

import pytest

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation import declared
from secrets_rotation.exceptions import TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators.base import Answer, Credential
from secrets_rotation.rotators.supplied import Supplied
from tests.local_servers import serving
from tests.secrets_rotation.rotators.key_server import KeyServer
from tests.secrets_rotation.rotators.test_http_api import Held

OLD = Credential("", SecretText("old-value-of-the-key"), 1)
NEW = Credential("", SecretText("new-value-of-the-key"), 2)


@pytest.fixture(autouse=True)
def allowed(settings):
    settings.OUTGOING_ALLOWED_NETWORKS = [ipaddress.ip_network("127.0.0.1/32")]


@pytest.fixture
def server():
    with serving(KeyServer()) as running:
        running.keys["a"] = OLD.value.reveal()
        yield running


def rotator_of(**given):
    checked = declared.check(Supplied.settings, given)
    target = declared.merged(Supplied.settings, checked.shown, checked.sealed)
    assert Supplied.problems(target) == {}
    return Supplied(target)


@pytest.fixture
def rotator(server):
    headers = {"Authorization": "Bearer {value}"}
    return rotator_of(verify={"url": f"{server.url}/me", "headers": headers})


def test_a_person_brings_the_value():
    assert Supplied.generates is False


def test_a_value_that_its_source_takes_is_verified_and_nothing_changed(rotator, server):
    server.keys["b"] = NEW.value.reveal()

    rotator.set(NEW, OLD, Held())

    assert rotator.verifies
    assert rotator.probe(NEW) is Answer.WORKS
    assert {each.method for each in server.received} == {"GET"}


def test_a_value_that_its_source_refuses_goes_back(rotator):
    with pytest.raises(ValueRefusedError, match="does not open"):
        rotator.set(NEW, OLD, Held())


def test_an_old_value_that_works_is_somebodys_business(rotator, server):
    with pytest.raises(TargetUnknownError, match="somebody has to end it"):
        rotator.revoke(OLD, NEW, Held())

    server.keys.clear()
    rotator.revoke(OLD, NEW, Held())


def test_a_source_that_is_away_is_unknown(rotator, server):
    server.broken = 503

    assert rotator.probe(OLD) is Answer.UNKNOWN
    rotator.set(NEW, OLD, Held())


def test_without_a_call_nothing_is_verified():
    rotator = rotator_of()

    rotator.set(NEW, OLD, Held())
    rotator.discard(NEW, OLD, Held())
    rotator.revoke(OLD, NEW, Held())

    assert rotator.verifies is False
    assert rotator.probe(NEW) is Answer.UNKNOWN


def test_a_call_that_cannot_be_is_refused():
    target = {"verify": {"url": "https://api.example/{value}"}, "refused": [401]}

    assert "must not be in 'url'" in Supplied.problems(target)["verify"]
