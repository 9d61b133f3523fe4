"""The commands about the master key work as printed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from compliance_site.foundation.data_keys import data_key
from compliance_site.foundation.master_key import MasterKey, Ring
from secrets_rotation.rotators.django_secret_key import Keys

ROOT = Path(__file__).resolve().parents[2]


def blocks(language):
    section = (ROOT / "docs/security-officer.md").read_text().split("## The master key\n")[1]
    return re.findall(rf"```{language}\n(.*?)```", section.split("\n## ")[0], re.DOTALL)


def test_the_commands_of_the_master_key_work_as_printed(
    committed_db, settings, tmp_path, monkeypatch
):
    path = tmp_path / "master_key"
    path.write_text(MasterKey.new().key.hex())
    path.chmod(0o600)
    monkeypatch.delenv("COMPLIANCE_MASTER_KEY")
    monkeypatch.setenv("COMPLIANCE_MASTER_KEY_FILE", str(path))
    settings.COMPLIANCE_MASTER_KEY, settings.COMPLIANCE_MASTER_KEY_FILE = "", path
    before = data_key("fingerprints")
    commands, retiring = blocks("bash")

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", as_run_here(commands)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    new, old = Ring.of(path.read_text()).keys
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "current": new.id,
        "keys": [
            {"id": new.id, "state": "current", "rows": {"compliance_site_data_key": 1}},
            {"id": old.id, "state": "old", "rows": {}},
        ],
    }
    assert data_key("fingerprints") == before
    assert "retire" in retiring


def as_run_here(commands):
    return commands.replace(".venv/bin/python manage.py", f"{sys.executable} {ROOT}/manage.py")


def test_the_applications_settings_read_what_the_rotator_writes(tmp_path):
    (shown,), (program,) = blocks("json"), blocks("python")
    assert Keys.of(shown).signing == "..."
    (tmp_path / "app.json").write_text(Keys("new", ("old",)).text)
    names = {"json": json, "Path": Path}

    exec(program.replace("/run/keys", str(tmp_path)), names)

    assert (names["SECRET_KEY"], names["SECRET_KEY_FALLBACKS"]) == ("new", ["old"])


def section_blocks(title):
    text = (ROOT / "docs/security-officer.md").read_text().split(f"## {title}\n")[1]
    return re.findall(r"```bash\n(.*?)```", text.split("\n## ")[0], re.DOTALL)


def test_the_commands_of_rotation_work_as_printed(console, administrator, make_user, token_of):
    administrator("CREATE ROLE documented_app LOGIN")
    admin = urlsplit(os.environ["DATABASE_ADMIN_URL"])
    (rotating,) = section_blocks("Rotating a secret")
    asking, approving = section_blocks("In an emergency")
    other = token_of(make_user("olivia", "security_officer"))
    target = {
        '"host": "db.example.org"': f'"host": "{admin.hostname}", "port": {admin.port}',
        '"username": "app"': '"username": "documented_app"',
        '"adminUser": "rotation"': f'"adminUser": "{admin.username}"',
        '"adminPassword": "..."': f'"adminPassword": "{unquote(admin.password)}"',
        "http://localhost:8000": console.url,
    }
    script = f"{rotating}\n{asking}\nTOKEN={other}\n{approving}"
    for printed, here in target.items():
        script = script.replace(printed, here)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", as_run_here(script).replace("curl -sS", "curl -fsS")],
        capture_output=True,
        text=True,
        check=False,
    )

    administrator("DROP ROLE documented_app")
    assert done.returncode == 0, done.stderr
    assert '"status":"success"' in done.stdout
    assert '"status":"ROTATED"' in done.stdout
    assert '"state":"rotating"' in done.stdout
