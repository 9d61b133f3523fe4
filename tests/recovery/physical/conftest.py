"""A server for each version with a receiver that runs: shared by tests that only add to it."""

import pytest

from tests.recovery.physical.lab import SYSTEM, WHEEL, Lab

VERSIONS = [SYSTEM, WHEEL]


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"postgresql{version}")
def lab(request):
    lab = Lab(request.param, **({"summarize_wal": "on"} if request.param >= 17 else {}))
    try:
        lab.receive()
        lab.engine.back_up(incremental=False)
        lab.execute("CREATE TABLE row (id bigserial, word text)")
        yield lab
    finally:
        lab.remove()


@pytest.fixture
def own_lab():
    """A server of the test's own, to be mistreated."""
    made = []

    def make(version=WHEEL, **options):
        made.append(Lab(version, **options))
        return made[-1]

    yield make
    for each in made:
        each.remove()
