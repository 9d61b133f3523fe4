import os

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def open_browser(console):
    """Open pages of given width and colour scheme; none may have complained by the end.

    A violation of the content security policy is such a complaint.
    """
    complaints = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

        def open_page(width=1280, scheme="light", tolerates="nothing at all"):
            context = browser.new_context(
                base_url=console.url,
                viewport={"width": width, "height": 900},
                color_scheme=scheme,
                accept_downloads=True,
            )
            page = context.new_page()
            page.on("console", lambda message: complain(complaints, page, message, tolerates))
            page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
            return page

        yield open_page
        browser.close()
    assert complaints == []


def complain(complaints, page, message, tolerates):
    if message.type in ("error", "warning") and tolerates not in message.text:
        complaints.append(f"{page.url}: {message.text}")
