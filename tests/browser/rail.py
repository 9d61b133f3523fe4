"""The console's sections, which are a menu where they do not fit beside the page."""


def open_menu(page):
    """Show the sections; where they stand beside the page, nothing is to be done."""
    page.get_by_role("heading", level=1).wait_for()
    button = page.get_by_role("button", name="Menu")
    if button.is_visible():
        button.click()
