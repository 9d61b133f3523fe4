"""What the documentation prints about rotators works as printed."""

import re
from pathlib import Path

import pytest

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.postgresql.pair import PostgresqlPair
from secrets_rotation.rotators.postgresql.role import PostgresqlRole
from tests.secrets_rotation.rotators.conftest import Lease, built, credential

DOCS = Path(__file__).resolve().parents[3] / "docs"
FIRST, SECOND = "the-First.password-1", "the-Second.password-2"


def printed(document, heading, language):
    section = (DOCS / document).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    (block,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return block


@pytest.fixture
def administered(own_cluster):
    """The roles of the documentation, and the target as its administrator sees it."""
    own_cluster.execute("CREATE ROLE app LOGIN")
    own_cluster.execute(printed("security-officer.md", "A database role", "sql"))
    own_cluster.execute("ALTER ROLE rotation PASSWORD 'its-Own.password'")
    own_cluster.execute(printed("security-officer.md", "A pair of roles", "sql"))
    own_cluster.execute("GRANT app_a, app_b TO rotation WITH ADMIN OPTION")
    password = SecretText("its-Own.password")
    yield own_cluster.target | {"adminUser": "rotation", "adminPassword": password}
    own_cluster.execute("DROP ROLE app, rotation, app_a, app_b, app_owner")


def test_the_documented_administrator_rotates_a_role(own_cluster, administered):
    rotator = built(PostgresqlRole, administered | {"username": "app"})
    first, second = credential(FIRST), credential(SECOND)
    rotator.set(first, None, Lease())

    with own_cluster.connect("app", FIRST):
        rotator.set(second, first, Lease())
        assert len(rotator.in_use(first)) == 1
        rotator.revoke(first, second, Lease())

    assert rotator.in_use(first) == []
    assert [rotator.probe(each) for each in (first, second)] == [Answer.REFUSED, Answer.WORKS]


def test_the_documented_pair_takes_turns(own_cluster, administered):
    settings = {"usernames": ["app_a", "app_b"], "group": "app_owner"}
    rotator = built(PostgresqlPair, administered | settings)
    first = credential(FIRST, rotator.next_username(""))
    second = credential(SECOND, rotator.next_username(first.username))
    rotator.set(first, None, Lease())

    with own_cluster.connect("app_a", FIRST):
        rotator.set(second, first, Lease())
        assert [rotator.probe(each) for each in (first, second)] == [Answer.WORKS] * 2
        rotator.revoke(first, second, Lease())

    assert rotator.in_use(first) == []
    assert [rotator.probe(each) for each in (first, second)] == [Answer.REFUSED, Answer.WORKS]


def test_the_documented_rotator_keeps_the_contract(tmp_path):
    names = {}
    exec(printed("platform-developer.md", "Writing a rotator", "python"), names)
    path = tmp_path / "token"
    rotator = built(names["TokenFile"], {"path": str(path)})
    first, second = credential(FIRST), credential(SECOND)

    assert rotator.probe(first) is Answer.UNKNOWN
    rotator.set(first, None, Lease())
    rotator.set(second, first, Lease())
    assert [rotator.probe(each) for each in (first, second)] == [Answer.REFUSED, Answer.WORKS]
    rotator.discard(second, first, Lease())
    assert [rotator.probe(each) for each in (first, second)] == [Answer.WORKS, Answer.REFUSED]
