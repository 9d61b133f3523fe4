import pytest
from django.contrib.auth.models import Group, User

from compliance_site.foundation.first_run import prepare

pytestmark = pytest.mark.django_db


def test_the_first_run_makes_groups_and_an_administrator_with_a_new_password():
    Group.objects.all().delete()

    first = prepare()

    admin = User.objects.get()
    assert admin.is_superuser
    assert admin.check_password(first.generated_password)
    assert Group.objects.count() == 4
    assert first.generated_password not in repr(first)


def test_a_given_password_is_used_and_not_shown():
    first = prepare("correct horse battery staple")

    assert first.generated_password is None
    assert User.objects.get().check_password("correct horse battery staple")


def test_the_second_run_changes_nothing():
    before = prepare("correct horse battery staple")

    assert prepare("another password") == before
    assert User.objects.get().check_password("correct horse battery staple")
