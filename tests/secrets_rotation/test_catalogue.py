"""What people say of secrets, where two say it at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from audit.capture.actors import Actor, acting_as
from secrets_rotation import catalogue
from secrets_rotation.declared import SettingsError


@pytest.mark.usefixtures("committed_db")
def test_two_changes_at_once_build_no_circle_of_dependencies(make_secret):
    one, two = make_secret("one"), make_secret("two")
    both = threading.Barrier(2)

    def depend(secret, other):
        try:
            with acting_as(Actor("user", "olivia", user_id=7)), transaction.atomic():
                secret.refresh_from_db()
                both.wait(10)
                catalogue.change(secret, depends_on=[other])
        except SettingsError as refusal:
            return refusal.fields["dependsOn"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(depend, (one, two), (two, one)))

    assert said.count(None) == 1
    assert one.depends_on.count() + two.depends_on.count() == 1
