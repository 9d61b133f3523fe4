import pytest

from recovery.health import report


@pytest.fixture(autouse=True)
def anew():
    """Each test asks anew; what one found out is not another's."""
    report.forget()
    yield
    report.forget()
