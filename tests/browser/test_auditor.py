import csv
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from compliance_site.foundation.roles import Role
from tests.browser.rail import open_menu
from tests.conftest import PASSWORD

SIZES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture
def trading_day(committed_db, make_user, make_log):
    """An auditor's account and entries of a platform; return the ids of failed orders."""
    make_user("anna", Role.AUDITOR)
    now = timezone.now()
    wanted = [
        make_log(resource=f"/orders/{n}", status_code=403, created_at=now - timedelta(minutes=n)).id
        for n in range(1, 4)
    ]
    make_log(resource="/orders/9", created_at=now)
    make_log(status_code=403, created_at=now)
    make_log(resource="/orders/8", status_code=403, created_at=now - timedelta(days=3))
    return wanted


def sign_in(page):
    page.goto("/")
    page.get_by_label("User name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", level=1).filter(has_text="Recording:").wait_for()


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def answer_pill(page, label, answer):
    pill = page.locator(".pill", has=page.locator("summary", has_text=label)).first
    pill.locator("summary").click()
    answer(pill)
    pill.get_by_role("button", name="Apply").click()
    page.wait_for_load_state()


def listed_ids(page):
    boxes = page.locator('input[name="_selected_action"]')
    return [int(box.get_attribute("value")) for box in boxes.all()]


def downloaded(page, link, tmp_path):
    with page.expect_download() as download:
        link.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    text = path.read_text()
    rows = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
    return [int(row["id"]) for row in rows]


def test_an_auditor_filters_the_log_opens_an_entry_and_takes_the_files_away(
    trading_day, open_browser, tmp_path
):
    for width, scheme in SIZES:
        page = open_browser(width, scheme)
        sign_in(page)
        assert fits(page)
        filter_the_log(page)
        assert listed_ids(page) == trading_day
        assert fits(page)
        assert exports_of(page, tmp_path) == [trading_day, trading_day]
        assert export_of_second(page, tmp_path) == trading_day[1:2]
        open_entry(page, trading_day[0])
        assert fits(page)
        open_menu(page)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="You are signed out").wait_for()


def filter_the_log(page):
    open_menu(page)
    page.get_by_role("link", name="Log", exact=True).click()
    answer_pill(page, "Status", lambda pill: pill.get_by_label("4xx").check())
    answer_pill(page, "Resource", lambda pill: pill.get_by_label("Resource").fill("/orders/*"))
    answer_pill(page, "Time", lambda pill: pill.get_by_label("Period").select_option("24h"))
    words = "3 entries match: last 24 hours, status 4xx, resource /orders/*"
    assert words in page.inner_text("main")


def exports_of(page, tmp_path):
    files = []
    for name in ("CSV", "JSON"):
        page.get_by_text("Export what I see").click()
        files.append(downloaded(page, page.get_by_role("link", name=name), tmp_path))
        page.keyboard.press("Escape")
    return files


def export_of_second(page, tmp_path):
    page.locator('input[name="_selected_action"]').nth(1).check()
    return downloaded(page, page.get_by_role("button", name="Export selected as CSV"), tmp_path)


def open_entry(page, entry_id):
    page.get_by_role("link", name=f"Entry {entry_id}", exact=True).click()
    page.get_by_role("heading", name=f"Entry {entry_id}").wait_for()
    assert '"strategy": "RSI_CROSS"' in page.inner_text("main")


def test_the_keyboard_reaches_the_search_and_a_bad_value_says_what_is_wrong(
    trading_day, open_browser
):
    page = open_browser()
    sign_in(page)
    page.goto("/admin/audit/auditlog/")

    page.keyboard.press("/")
    page.keyboard.type("orders/9")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=orders%2F9")
    assert "1 entry matches" in page.inner_text("main")

    answer_pill(page, "Who", lambda pill: pill.get_by_label("User id").fill("meyer"))
    assert "User id: 'meyer' is not a user id" in page.get_by_role("alert").inner_text()
    assert listed_ids(page) == []
    page.get_by_role("link", name="Clear all").click()
    page.wait_for_url("**/admin/audit/auditlog/")
