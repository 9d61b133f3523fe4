import pytest

from compliance_site.foundation.roles import Role
from recovery.physical import base_files
from tests.browser.test_recovery import SIZES, fits, heading, photograph, sign_in
from tests.recovery.physical.conftest import own_lab as own_lab
from tests.recovery.physical.lab import WHEEL

# Pairs of cells of one row that cover each other by more than a pixel's rounding.
OVERLAPS = """() => [...document.querySelectorAll("table tbody tr")].flatMap(row => {
  const boxes = [...row.cells].map(cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return [cell.textContent.trim(), [cell.getBoundingClientRect(), ...range.getClientRects()]];
  });
  const cover = (one, other) =>
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1;
  return boxes.flatMap(([text, one], place) => boxes.slice(place + 1)
    .filter(([, other]) => one.some(a => other.some(b => cover(a, b))))
    .map(([beside]) => `${text} / ${beside}`));
})"""


@pytest.fixture
def rita(committed_db, make_user):
    return make_user("rita", Role.AUDITOR)


@pytest.fixture
def archived(rita, own_lab, monkeypatch):
    """An archive with base backups of every kind, in the environment of the console."""
    lab = own_lab(WHEEL, summarize_wal="on", max_slot_wal_keep_size="-1")
    lab.receive()
    made = [lab.engine.back_up(incremental=number > 0) for number in range(3)]
    base_files.pin(lab.archive, made[0].id, "the audit", lab.now())
    (lab.archive.base / made[2].id / base_files.MANIFEST).unlink()
    monkeypatch.setenv("BACKUP_DATABASES", f"lab={lab.url}")
    monkeypatch.setenv("WAL_ARCHIVE_PATH", str(lab.archives))
    return lab


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_the_page_fits_wide_and_narrow(archived, open_browser, width, scheme):
    page = open_browser(width, scheme)
    sign_in(page, "rita")

    page.goto("/admin/recovery/backup/point-in-time/")
    heading(page, "console, lab: somebody has to look")

    photograph(page, f"point-in-time-{width}")
    page.get_by_text("max_slot_wal_keep_size is unlimited").wait_for()
    for each in (width, 600, 800):
        page.set_viewport_size({"width": each, "height": 900})
        assert fits(page), each
        assert page.locator("tbody tr").count() == 3
        assert page.evaluate(OVERLAPS) == [], each


def test_without_an_archive_the_page_fits_as_well(rita, open_browser):
    page = open_browser(390)
    sign_in(page, "rita")

    page.goto("/admin/recovery/backup/point-in-time/")
    heading(page, "Going back to a moment is not switched on")

    photograph(page, "point-in-time-off")
    assert fits(page)
