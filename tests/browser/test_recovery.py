import os
import subprocess
import sys

import psycopg
import pytest
from django.db import connections
from psycopg import sql

from compliance_site.foundation.roles import Role
from tests.browser.rail import open_menu
from tests.conftest import PASSWORD
from tests.recovery.backups.conftest import make_database  # noqa: F401

SIZES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture
def orders(committed_db, make_database, make_user, monkeypatch, tmp_path):  # noqa: F811
    """A database "orders" in the environment of the console and its worker; and three people."""
    url = make_database()
    monkeypatch.setenv("BACKUP_DATABASES", f"orders={url}")
    monkeypatch.setenv("BACKUP_STORAGE_PATH", str(tmp_path / "backups"))
    monkeypatch.setenv("RECOVERY_FOLDER", str(tmp_path / "recovery"))
    make_user("ana", Role.OPERATOR)
    make_user("ben", Role.OPERATOR)
    make_user("rita", Role.AUDITOR)
    return url


@pytest.fixture
def worker(orders, tmp_path):
    """A worker of the queue "recovery", as it is really run."""
    command = [sys.executable, "-m", "celery", "--quiet", "--app", "compliance_site", "worker"]
    with open(tmp_path / "worker.log", "w") as log:
        process = subprocess.Popen(
            [*command, "--queues", "recovery", "--pool", "solo"], stdout=log, stderr=log
        )
    yield process
    process.terminate()
    process.wait(60)


def sign_in(page, name):
    page.goto("/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    open_menu(page)
    page.get_by_role("link", name="Backups").first.click()


def go_by_menu(page, label):
    sections = page.get_by_role("navigation", name="Sections")
    assert not sections.is_visible()
    open_menu(page)
    sections.get_by_role("link", name=label).click()
    page.wait_for_url("**/healthsample/")


def heading(page, text):
    page.get_by_role("heading", level=1).filter(has_text=text).wait_for()
    assert fits(page)


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def confirm(page, url):
    """Type the name that the server knows, as the page asks for it."""
    name = url.rpartition("/")[2]
    page.get_by_label(f"Type {name} to confirm").fill(name)


def photograph(page, name):
    """Keep pictures where somebody asked for them."""
    if folder := os.environ.get("SCREENSHOTS"):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=f"{folder}/{name}-{scheme}.png", full_page=True)


def rows(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*) FROM customers").fetchone()[0]


def back_up_and_verify(page):
    """Make a backup from its page, restore it into a scratch database, and see both finish."""
    page.get_by_role("button", name="Back up now orders").click()
    heading(page, "never restored to check it")
    page.get_by_role("button", name="Verify now").click()
    heading(page, "it was restored and fits")
    photograph(page, "backup")


def test_two_operators_restore_a_database_and_watch_it_finish(orders, worker, open_browser):
    ana, ben = open_browser(), open_browser(390, "dark")
    sign_in(ana, "ana")
    heading(ana, "console, orders: somebody has to look")
    back_up_and_verify(ana)
    with psycopg.connect(orders, autocommit=True) as connection:
        connection.execute("DELETE FROM customers WHERE id > 3")

    ana.get_by_role("link", name="Restore…").click()
    heading(ana, "Put orders back to")
    ana.get_by_text("What was written since").wait_for()
    photograph(ana, "ask")
    ana.get_by_label("Reason").fill("Somebody deleted customers.")
    confirm(ana, orders)
    ana.get_by_role("button", name="Ask for the restore").click()
    heading(ana, "Waits for a second operator: restore of orders")
    assert ana.get_by_role("link", name="Approve…").count() == 0
    photograph(ana, "request")

    sign_in(ben, "ben")
    ben.goto(ana.url)
    ben.get_by_role("link", name="Approve…").click()
    heading(ben, "Approve: restore of orders to")
    ben.get_by_text("What was written since").wait_for()
    photograph(ben, "approve")
    confirm(ben, orders)
    ben.get_by_role("button", name="Approve").click()

    # By itself, without a click.
    heading(ben, "Done: orders is as it was at")
    assert rows(orders) == 500
    ana.goto(ben.url)
    photograph(ana, "restore")
    ana.goto("/admin/recovery/restorerequest/")
    photograph(ana, "restores")
    ana.goto("/admin/recovery/backup/")
    photograph(ana, "backups")


@pytest.fixture
def console_database(orders, committed_db):
    """The console's own database; what its restores keep is dropped in the end."""
    yield committed_db
    connections.close_all()
    like = committed_db.replace("_", r"\_") + r"\_%"
    with psycopg.connect(os.environ["DATABASE_ADMIN_URL"], autocommit=True) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [like])
        for (name,) in found.fetchall():
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def test_the_consoles_own_restore_is_followed_beyond_the_loss_of_ones_session(
    console_database, worker, open_browser
):
    # In the moment of the swap the page is told 503, and goes on.
    ana, ben = open_browser(tolerates="503"), open_browser(tolerates="503")
    sign_in(ana, "ana")
    ana.get_by_role("button", name="Back up now console").click()
    heading(ana, "console, a minute old: never restored")
    sign_in(ben, "ben")
    ana.get_by_role("link", name="Restore…").click()
    ana.get_by_text("entries of the audit log are newer than the backup").wait_for()
    ana.get_by_label("Reason").fill("An attacker was in it.")
    confirm(ana, console_database)
    ana.get_by_role("button", name="Ask for the restore").click()
    heading(ana, "Waits for a second operator")
    ben.goto(ana.url)
    ben.get_by_role("link", name="Approve…").click()
    confirm(ben, console_database)
    ben.get_by_role("button", name="Approve").click()

    # Ben signed in after the backup: his session is not in it.
    ben.get_by_label("User name").fill("ben", timeout=60_000)
    ben.get_by_label("Password").fill(PASSWORD)
    ben.get_by_role("button", name="Sign in").click()

    heading(ben, "Done: console is as it was at")
    photograph(ben, "own")


def test_every_page_fits_wide_and_narrow_and_an_auditor_finds_no_button(
    orders, worker, open_browser
):
    page = open_browser()
    sign_in(page, "ana")
    back_up_and_verify(page)
    backup = page.url.partition("?")[0]
    reader = open_browser()
    sign_in(reader, "rita")
    for width, scheme in SIZES:
        for each in (page, reader):
            each.set_viewport_size({"width": width, "height": 900})
            each.emulate_media(color_scheme=scheme)
        for address in ("/admin/recovery/backup/", "/admin/recovery/restorerequest/", backup):
            page.goto(address)
            assert fits(page), (address, width)
            reader.goto(address)
            assert reader.locator("main button", has_text="now").count() == 0
        if width == 390:
            page.goto("/admin/recovery/backup/")
            photograph(page, f"backups-narrow-{scheme}")
            go_by_menu(page, "Health")
            assert fits(page)
        for address in (f"{backup}/../../pin/", f"{backup}/../../restore/"):
            page.goto(address)
            assert fits(page), (address, width)


def test_the_sealed_file_is_saved_under_its_name(orders, worker, open_browser):
    page = open_browser()
    sign_in(page, "ana")
    page.get_by_role("button", name="Back up now orders").click()
    heading(page, "never restored to check it")

    with page.expect_download() as saving:
        page.get_by_role("link", name="Download").click()

    assert saving.value.suggested_filename.startswith("orders-")
    with open(saving.value.path(), "rb") as file:
        assert file.read(21) == b"age-encryption.org/v1"
