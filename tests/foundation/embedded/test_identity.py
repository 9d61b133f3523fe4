import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from compliance_site.foundation.embedded import EmbeddedError, endpoints, identity
from compliance_site.foundation.embedded import ports as embedded_ports

PRINT_URL = """
import sys, pathlib
from compliance_site.foundation.embedded import endpoints
print(endpoints(pathlib.Path(sys.argv[1])).database_url)
"""


def test_endpoints_are_the_same_at_every_call(tmp_path):
    assert endpoints(tmp_path / "var") == endpoints(tmp_path / "var")


def test_endpoints_name_the_roles_and_the_database(tmp_path):
    found = endpoints(tmp_path)
    stored = json.loads((tmp_path / "embedded.json").read_text())

    assert found.database_url == (
        f"postgresql://compliance:{stored['runtime_password']}@127.0.0.1:{stored['postgres_port']}/abtpro_db"
    )
    assert found.owner_url == (
        f"postgresql://compliance_owner:{stored['owner_password']}@127.0.0.1:{stored['postgres_port']}/abtpro_db"
    )
    assert found.admin_url == (
        f"postgresql://compliance_admin:{stored['admin_password']}@127.0.0.1:{stored['postgres_port']}/postgres"
    )
    assert (
        found.redis_url == f"redis://:{stored['redis_password']}@127.0.0.1:{stored['redis_port']}/0"
    )


def test_two_checkouts_share_no_port_and_no_password(tmp_path):
    one, other = (
        json.loads((tmp_path / name / "embedded.json").read_text())
        for name in ("one", "other")
        if endpoints(tmp_path / name)
    )

    assert not {value for value in one.values() if value} & {
        value for value in other.values() if value
    }


def test_only_its_owner_can_read_the_file(tmp_path):
    endpoints(tmp_path)

    assert (tmp_path / "embedded.json").stat().st_mode & 0o777 == 0o600


def test_processes_that_come_first_at_the_same_time_agree(tmp_path):
    def first(_):
        command = [sys.executable, "-c", PRINT_URL, tmp_path / "var"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(first, range(4)))) == 1


def test_repr_masks_every_password(tmp_path):
    shown = repr(endpoints(tmp_path)) + repr(identity.load(tmp_path))

    stored = json.loads((tmp_path / "embedded.json").read_text())
    assert [
        name for name, value in stored.items() if name.endswith("_password") and value in shown
    ] == []
    assert shown.count("***") == 4


def test_a_damaged_file_is_refused_without_showing_it(tmp_path):
    (tmp_path / "embedded.json").write_text('{"admin_password": "hunter2"')

    with pytest.raises(EmbeddedError, match=r"embedded\.json is damaged") as refused:
        endpoints(tmp_path)

    assert refused.value.__suppress_context__


def test_ports_keep_clear_of_those_of_outgoing_connections():
    assert 20_000 <= embedded_ports.choose() < 32_000
