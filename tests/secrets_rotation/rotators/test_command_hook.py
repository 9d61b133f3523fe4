import json
import logging
import os
import signal
import time
from datetime import UTC, datetime

import psutil
import pytest

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation import declared
from secrets_rotation.exceptions import LeaseLostError, TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators.base import Answer, Credential, Usage
from secrets_rotation.rotators.command_hook import CommandHook
from tests.secrets_rotation.rotators.test_http_api import Held, Lost

OLD = Credential("app", SecretText("old-value"), 1, datetime(2026, 1, 1, tzinfo=UTC))
NEW = Credential("app", SecretText("new-value"), 2)

# A target that is a file of valid values, one a line.
PASSWORD_FILE = """#!/usr/bin/env python3
import json, pathlib, sys

verb, store = sys.argv[-1], pathlib.Path(sys.argv[1])
given = json.load(sys.stdin)
value = given["secret"]["value"]
assert given["verb"] == verb
values = store.read_text().split()
if verb == "verify":
    sys.exit(0 if value in values else 10)
if len(value) < 4:
    sys.exit(11)
values = [each for each in values if each != value] + ([value] if verb == "set" else [])
store.write_text("\\n".join(values))
"""


@pytest.fixture
def folder(tmp_path, settings):
    settings.ROTATION_HOOK_FOLDER = tmp_path / "hooks"
    settings.ROTATION_HOOK_FOLDER.mkdir(mode=0o755)
    return settings.ROTATION_HOOK_FOLDER


@pytest.fixture
def script(folder):
    def make(text, name="hook"):
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return make


def rotator_of(*command, **given):
    command = [str(word) for word in command]
    checked = declared.check(CommandHook.settings, {"command": command, **given})
    target = declared.merged(CommandHook.settings, checked.shown, checked.sealed)
    assert CommandHook.problems(target) == {}
    return CommandHook(target)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store"
    path.write_text("old-value")
    return path


def test_a_hook_sets_verifies_discards_and_revokes(script, store):
    rotator = rotator_of(script(PASSWORD_FILE), store, username="app")
    assert rotator.next_username("") == "app"
    assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.WORKS, Answer.REFUSED)

    for _ in range(2):
        rotator.set(NEW, OLD, Held())
        assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.WORKS, Answer.WORKS)
    for _ in range(2):
        rotator.discard(NEW, OLD, Held())
        assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.WORKS, Answer.REFUSED)
    rotator.set(NEW, OLD, Held())
    rotator.revoke(OLD, NEW, Held())
    assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.REFUSED, Answer.WORKS)


def test_a_rule_of_the_target_is_told(script, store):
    rotator = rotator_of(script(PASSWORD_FILE), store)

    with pytest.raises(ValueRefusedError, match="target's rules"):
        rotator.set(Credential("", SecretText("abc"), 3), OLD, Held())


def test_the_secret_is_on_standard_input_only_and_the_environment_is_bare(
    script, tmp_path, monkeypatch
):
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    seen = tmp_path / "seen"
    text = (
        "#!/usr/bin/env python3\n"
        "import json, os, sys\n"
        f"out = [sys.argv, dict(os.environ), os.getcwd(), sys.stdin.read()]\n"
        f"open({str(seen)!r}, 'w').write(json.dumps(out))\n"
    )
    path = script(text)

    rotator_of(path, "a b", "; id", credentials={"admin": "T0KEN"}).set(NEW, OLD, Held())

    arguments, environment, place, given = json.loads(seen.read_text())
    assert arguments == [str(path), "a b", "; id", "set"]
    assert environment.keys() <= {"PATH", "LANG", "LC_CTYPE"}
    assert place == "/"
    assert json.loads(given) == {
        "verb": "set",
        "secret": {"username": "app", "value": "new-value", "version": 2},
        "current": {"username": "app", "value": "old-value", "version": 1},
        "credentials": {"admin": "T0KEN"},
    }


@pytest.mark.parametrize("status", [1, 2, 3, 11, 126, 127, 255])
def test_a_script_that_breaks_says_nothing_of_the_credential(script, status):
    rotator = rotator_of(script(f"#!/bin/sh\nexit {status}\n"))

    assert rotator.probe(NEW) is Answer.UNKNOWN


@pytest.mark.parametrize("status", [1, 2, 10])
def test_a_change_that_did_not_end_well_is_unknown(script, status):
    rotator = rotator_of(script(f"#!/bin/sh\nexit {status}\n"))

    for change in (rotator.set, rotator.discard, rotator.revoke):
        with pytest.raises(TargetUnknownError, match=f"the hook ended with {status}"):
            change(NEW, OLD, Held())


def test_a_python_error_is_no_refusal(script):
    rotator = rotator_of(script("#!/usr/bin/env python3\nraise SystemError\n"))

    assert rotator.probe(OLD) is Answer.UNKNOWN


def test_a_hook_that_is_ended_or_cannot_start_is_unknown(script):
    killed = rotator_of(script("#!/bin/sh\nkill -9 $$\n", "killed"))
    broken = rotator_of(script("#!/nothing/here\n", "broken"))

    with pytest.raises(TargetUnknownError, match="ended by signal 9"):
        killed.set(NEW, OLD, Held())
    with pytest.raises(TargetUnknownError, match="could not be started: FileNotFoundError"):
        broken.set(NEW, OLD, Held())


def test_the_deadline_ends_the_hook_and_all_that_it_started(script, tmp_path):
    pids = tmp_path / "pids"
    path = script(f"#!/bin/sh\nsleep 300 &\necho $! $$ > {pids}\nwait\n")

    with pytest.raises(TargetUnknownError, match="took longer than 1 second"):
        rotator_of(path, timeout_seconds=1).set(NEW, OLD, Held())

    assert [pid for pid in map(int, pids.read_text().split()) if is_alive(pid)] == []


def test_what_a_hook_leaves_behind_is_ended_with_it(script, tmp_path):
    pids = tmp_path / "pids"
    path = script(f"#!/bin/sh\nsleep 300 &\necho $! > {pids}\n")

    rotator_of(path).set(NEW, OLD, Held())

    assert not is_alive(int(pids.read_text()))


def is_alive(pid):
    """Wait a moment for a killed process; an orphan is somebody else's to reap."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return True


def test_a_hook_that_reads_nothing_does_not_hold_us_up(script):
    large = {"certificate": "x" * 1_000_000}

    rotator_of(script("#!/bin/sh\nexit 0\n"), credentials=large).set(NEW, OLD, Held())


def test_a_hook_ends_before_the_lease_does(script):
    rotator = rotator_of(script("#!/bin/sh\nexec sleep 300\n"))

    with pytest.raises(TargetUnknownError, match="took longer"):
        rotator.set(NEW, OLD, Held(seconds=1.2))
    with pytest.raises(TargetUnknownError, match="lease"):
        rotator.set(NEW, OLD, Held(seconds=1.0))


def test_nothing_is_run_without_the_lease(script, tmp_path):
    mark = tmp_path / "mark"
    rotator = rotator_of(script(f"#!/bin/sh\ntouch {mark}\n"))

    for change in (rotator.set, rotator.discard, rotator.revoke):
        with pytest.raises(LeaseLostError):
            change(NEW, OLD, Lost())
    assert not mark.exists()


def test_what_it_prints_reaches_no_log_and_no_error(script, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    rotator = rotator_of(script("#!/bin/sh\ncat; cat >&2; echo new-value >&2\nexit 3\n"))

    with pytest.raises(TargetUnknownError) as failure:
        rotator.set(NEW, OLD, Held())

    assert "new-value" not in str(failure.value) + caplog.text + "".join(capfd.readouterr())


def test_sessions_are_what_the_hook_prints(script):
    sessions = [
        {"session": 7, "who": "app", "since": "2026-01-31T10:00:00Z"},
        {"session": "8", "who": "x" * 500},
    ]
    rotator = rotator_of(script(f"#!/bin/sh\necho '{json.dumps(sessions)}'\n"), reports_use=True)

    assert rotator.in_use(OLD) == [
        Usage("7", "app", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        Usage("8", "x" * 200, None),
    ]


def test_a_hook_that_does_not_report_use_is_not_asked(script):
    assert rotator_of(script("#!/bin/sh\nexit 1\n")).in_use(OLD) == []


@pytest.mark.parametrize(
    "text",
    [
        "echo old-value",
        "echo '[\"old-value\"]'",
        "echo '{}' '{}'",
        'echo \'[{"session": 1, "who": "a", "since": "yesterday"}]\'',
        'echo \'[{"session": 1, "who": "a", "since": "2026-01-31T10:00:00"}]\'',
        "echo '[]'; exit 1",
        "head -c 100000 /dev/zero",
        "cat /dev/zero",
    ],
)
def test_use_that_is_not_understood_is_unknown_and_not_shown(script, text):
    rotator = rotator_of(script(f"#!/bin/sh\n{text}\n"), reports_use=True)

    with pytest.raises(TargetUnknownError) as failure:
        rotator.in_use(OLD)

    assert "old-value" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_output_that_a_left_process_keeps_open_does_not_hold_us_up(script):
    rotator = rotator_of(script("#!/bin/sh\nsleep 300 &\necho '[]'\n"), reports_use=True)

    assert rotator.in_use(OLD) == []


def problem(*command):
    target = declared.merged(CommandHook.settings, {"command": list(command)}, None)
    return CommandHook.problems(target)["command"]


def test_hooks_are_refused_without_a_folder_for_them(script, settings):
    path = str(script("#!/bin/sh\n"))
    settings.ROTATION_HOOK_FOLDER = None

    assert "ROTATION_HOOK_FOLDER is not set" in problem(path)


def test_a_program_outside_the_folder_is_refused(folder, script, tmp_path):
    path = script("#!/bin/sh\n")
    outside = tmp_path / "outside"
    outside.write_bytes(path.read_bytes())
    outside.chmod(0o755)
    (folder / "link").symlink_to(outside)
    (tmp_path / "hooks-too").mkdir()
    (tmp_path / "hooks-too" / "hook").symlink_to(outside)

    for command in (outside, folder / "link", f"{folder}/../outside", f"{folder}-too/hook"):
        assert "has to be in ROTATION_HOOK_FOLDER" in problem(str(command))
    assert "absolute path" in problem("hook")
    assert "no such file" in problem(str(folder / "nothing"))


def test_a_file_that_is_no_program_of_the_operators_is_refused(folder, script):
    path = script("#!/bin/sh\n")
    inner = folder / "inner"
    inner.mkdir()

    assert "not executable" in problem(str(inner))
    path.chmod(0o644)
    assert "not executable" in problem(str(path))
    path.chmod(0o757)
    assert "written by others" in problem(str(path))
    path.chmod(0o755)
    folder.chmod(0o777)
    assert "written by others" in problem(str(path))


@pytest.mark.parametrize("command", [[], [1], ["/a\0b"], [["/a"]]])
def test_a_command_is_a_list_of_texts(folder, command):
    assert problem(*command) == "A list of texts, the first one a path."


def test_a_program_that_was_changed_since_is_looked_at_again(script):
    path = script("#!/bin/sh\nexit 0\n")
    rotator = rotator_of(path)
    path.chmod(0o777)

    assert rotator.probe(NEW) is Answer.UNKNOWN
    with pytest.raises(TargetUnknownError, match="written by others"):
        rotator.set(NEW, OLD, Held())


@pytest.mark.parametrize("seconds", [0, 51])
def test_a_call_takes_less_than_a_lease(script, seconds):
    path = str(script("#!/bin/sh\n"))
    given = {"command": [path], "timeout_seconds": seconds}
    target = declared.merged(CommandHook.settings, given, None)

    assert CommandHook.problems(target) == {"timeout_seconds": "From 1 to 50."}


def test_the_principal_names_the_command(script, store):
    path = script(PASSWORD_FILE)

    principal = rotator_of(path, store, username="app").principal()

    assert principal == f"command_hook {path} {store} app"
