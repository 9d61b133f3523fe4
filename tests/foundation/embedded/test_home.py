import os
import pwd

import pytest

from compliance_site.foundation import embedded
from compliance_site.foundation.embedded import postgres, valkey
from compliance_site.foundation.embedded.home import find_home, locate


def snapshot(folder):
    return {path: (path.stat().st_mode, path.stat().st_uid) for path in (folder, *folder.parents)}


def test_folders_that_exist_keep_their_mode_and_owner(make_var, start):
    var = make_var()
    var.mkdir(mode=0o751)
    before = snapshot(var)

    start(var)

    assert snapshot(var) == before


def test_data_lies_below_var_when_the_services_can_get_there(var, start):
    start(var)

    assert find_home(var).path == var.resolve() / "services"


def test_services_start_under_a_strict_umask(var, start):
    before = os.umask(0o077)
    try:
        start(var)
    finally:
        os.umask(before)

    assert embedded.status(var).running


@pytest.mark.root_only
def test_services_of_root_run_as_an_unprivileged_user(var, start):
    start(var)
    home = find_home(var)

    assert 0 not in {process.uids().real for process in (postgres.find(home), valkey.find(home))}
    assert postgres.find(home).gids().real != 0


@pytest.mark.root_only
def test_below_a_closed_folder_of_root_the_data_lies_outside(make_var, start):
    var = make_var(mode=0o700)
    before = snapshot(var.parent)

    start(var)

    assert embedded.status(var).running
    assert find_home(var).path == locate(var, inside=False)
    assert snapshot(var.parent) == before


def test_two_checkouts_never_share_a_home(tmp_path):
    homes = {
        locate(tmp_path / name, inside=inside)
        for name in ("a/var", "b/var")
        for inside in (True, False)
    }

    assert len(homes) == 4


@pytest.mark.root_only
def test_in_a_users_checkout_root_leaves_everything_to_that_user(make_var, start):
    var = make_var()
    user = pwd.getpwnam("nobody")
    os.chown(var.parent, user.pw_uid, user.pw_gid)

    start(var)

    assert embedded.status(var).running
    assert {path.stat().st_uid for path in (var, *var.rglob("*"))} == {user.pw_uid}


def test_a_folder_that_cannot_be_written_is_named(var, start):
    var.write_text("a file, not a folder")

    with pytest.raises(embedded.EmbeddedError, match=str(var)):
        start(var)
    var.unlink()
