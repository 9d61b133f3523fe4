import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from django.db import connections
from psycopg import sql

from audit.capture.actors import Actor, acting_as
from compliance_site.foundation.roles import Role
from secrets_rotation import break_glass
from secrets_rotation.models import Secret, Trigger
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start
from tests.browser.rail import open_menu
from tests.conftest import PASSWORD

SIZES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
BROUGHT = "vigilant-Otter.walks-93-miles"
FIRST = "an-Old.password-that-is-gone-soon"


@pytest.fixture
def role():
    """A role on the real PostgreSQL that has a password already."""
    name = sql.Identifier(f"orders_{secrets.token_hex(4)}")
    with psycopg.connect(os.environ["DATABASE_ADMIN_URL"], autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, FIRST))
        yield name.as_string().strip('"')
        connection.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.fixture
def officer(committed_db, make_user):
    return make_user("olivia", Role.SECURITY_OFFICER)


@pytest.fixture
def second_officer(committed_db, make_user):
    return make_user("oscar", Role.SECURITY_OFFICER)


def opens(role, password):
    url = urlsplit(os.environ["DATABASE_ADMIN_URL"])
    try:
        psycopg.connect(
            host=url.hostname, port=url.port, dbname="postgres", user=role, password=password
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def sign_in(page, name="olivia"):
    page.goto("/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", level=1).filter(has_text="Recording:").wait_for()


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def heading(page, text):
    page.get_by_role("heading", level=1).filter(has_text=text).wait_for()
    assert fits(page)


def add_secret(page, role):
    """Register the role's password as a secret, by the form that its rotator declares."""
    url = urlsplit(os.environ["DATABASE_ADMIN_URL"])
    open_menu(page)
    page.get_by_role("link", name="Secrets", exact=True).first.click()
    heading(page, "No secret is registered yet")
    page.get_by_role("link", name="Add a secret").click()
    heading(page, "What rotates the new secret?")
    page.locator('a[href="?rotator=postgresql_role"]').click()
    heading(page, "Add a secret")
    page.get_by_label("Name", exact=True).fill("orders_db")
    page.get_by_label("host").fill(url.hostname)
    page.get_by_label("port").fill(str(url.port))
    page.get_by_label("sslmode").fill("disable")
    page.get_by_label("adminUser").fill(unquote(url.username))
    page.get_by_label("adminPassword").fill(unquote(url.password))
    page.get_by_label("username", exact=True).fill(role)
    page.get_by_role("button", name="Add the secret").click()
    heading(page, "orders_db")
    assert unquote(url.password) not in page.content()


def rotate(page, value=""):
    page.get_by_role("link", name="Rotate now").click()
    heading(page, "orders_db is ready to rotate")
    assert "complete" in page.inner_text("main")
    page.get_by_label("New value").fill(value)
    page.get_by_label("Type orders_db to confirm").fill("orders_db")
    page.get_by_role("button", name="Rotate now").click()


def in_a_thread(work, *arguments):
    """Work on the database beside the browser, whose event loop Django refuses to run in."""

    def work_and_close():
        try:
            with acting_as(Actor("task", "tick")):
                return work(*arguments)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work_and_close).result()


def begin():
    return start(Secret.objects.get(), trigger=Trigger.MANUAL).pk


def carry_emergencies_on():
    for run_id in break_glass.carry_on():
        machine.advance(run_id)
    break_glass.carry_on()


def test_two_officers_rotate_everything_of_a_type_in_an_emergency(
    role, officer, second_officer, open_browser
):
    first, second = open_browser(), open_browser(390, "dark")
    sign_in(first)
    add_secret(first, role)
    first.get_by_role("link", name="Break-glass").click()
    heading(first, "No emergency is under way")
    first.get_by_role("link", name="Ask", exact=True).click()
    first.get_by_label("Which secrets").select_option("type:API_KEY")
    first.get_by_label("Reason").fill("A backup leaked")
    first.get_by_label("Without grace").check()
    first.get_by_role("button", name="Show what would be rotated").click()
    heading(first, "1 secret of type API_KEY would be rotated")
    first.get_by_role("button", name="Ask for it").click()
    heading(first, "Waits for a second security officer: type API_KEY")
    first.get_by_text("You asked for it, so you cannot approve it.").wait_for()
    assert first.get_by_role("link", name="Approve").count() == 0

    sign_in(second, "oscar")
    second.goto(first.url)
    second.get_by_role("link", name="Approve").click()
    heading(second, "Approve: type API_KEY?")
    second.get_by_label("Type type API_KEY to confirm").fill("type API_KEY")
    second.get_by_role("button", name="Approve").click()
    heading(second, "0 of 1 rotated")
    in_a_thread(carry_emergencies_on)

    # By itself, without a click.
    heading(second, "Done: 1 of 1 rotated, every old value is ended")
    assert "oscar" in second.inner_text("main")
    assert not opens(role, FIRST)


def test_an_officer_rotates_a_database_password_and_watches_it_finish(role, officer, open_browser):
    page = open_browser()
    sign_in(page)
    add_secret(page, role)
    rotate(page)
    heading(page, "Done: version 1 is in use")
    assert not opens(role, FIRST)

    page.get_by_role("link", name="orders_db").first.click()
    rotate(page, BROUGHT)
    heading(page, "Version 2 is in use; the old value works until")
    assert opens(role, BROUGHT)
    assert BROUGHT not in page.content()
    page.get_by_role("link", name="Ask the target").click()
    page.get_by_text("The target knows no session of the old value.").wait_for()

    page.get_by_role("link", name="End grace now").click()
    heading(page, "End grace now: orders_db?")
    page.get_by_label("Type orders_db to confirm").fill("orders_db")
    page.get_by_role("button", name="End grace now").click()
    heading(page, "Done: version 2 is in use, the old value is ended")
    assert "The old value is refused and no session of it is left." in page.inner_text("main")
    assert opens(role, BROUGHT)


def test_the_page_of_a_run_follows_it_without_a_click(role, officer, open_browser):
    page = open_browser()
    sign_in(page)
    add_secret(page, role)
    run_id = in_a_thread(begin)
    page.goto(f"/admin/secrets_rotation/run/{run_id}/change/")
    heading(page, "Under way: the new value is sealed")

    in_a_thread(machine.advance, run_id)

    heading(page, "Done: version 1 is in use")


def test_a_value_that_breaks_a_rule_is_told_at_its_field_and_gone(role, officer, open_browser):
    page = open_browser(390, "dark")
    sign_in(page)
    add_secret(page, role)

    rotate(page, "too-short")

    page.get_by_text("Give 16 to 256 signs.").wait_for()
    assert page.get_by_label("New value").input_value() == ""
    assert "too-short" not in page.content()
    assert opens(role, FIRST)


def test_every_page_fits_wide_and_narrow(role, officer, open_browser):
    page = open_browser()
    sign_in(page)
    add_secret(page, role)
    rotate(page)
    heading(page, "Done")
    for width, scheme in SIZES:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        for path in ("secret/", "secret/calendar/", "run/", "run/grace/", "breakglass/", "policy/"):
            page.goto(f"/admin/secrets_rotation/{path}")
            assert fits(page), (path, width)
