"""The README's commands work as printed, but for the port."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from audit.models import AuditLog
from tests.redaction import tag

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def bash_blocks(heading):
    section = (ROOT / "README.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```bash\n(.*?)```", section, re.DOTALL)


def test_the_commands_to_try_it_work_as_printed(console, tmp_path):
    (commands,) = bash_blocks("Try it")
    here = commands.replace("http://localhost:8000", console.url).replace(
        ".venv/bin/python manage.py", f"{sys.executable} {ROOT}/manage.py"
    )
    # --fail: an answer that is an error must not pass for one that works.
    script = re.sub(r"^curl ", "curl --silent --show-error --fail ", here, flags=re.MULTILINE)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 0, done.stderr
    answers = list(json_documents(done.stdout))
    assert [sorted(answer) for answer in answers] == [
        ["status", "timestamp"],
        ["accepted", "duplicates", "rejected"],
        ["asOf", "logs", "page", "pages", "total"],
        sorted(answers[2]["logs"][0]),
        ["byAction", "byUser", "topEndpoints", "totalLogs"],
    ]
    (log,) = answers[2]["logs"]
    assert json.loads(log["requestData"]) == {"strategy": "RSI_CROSS", "apiKey": tag("sk_live_123")}
    with open(tmp_path / "audit_logs.csv", newline="") as file:
        assert {row["action"] for row in csv.DictReader(file)} >= {"CREATE", "ISSUE_TOKEN"}
    assert AuditLog.objects.filter(actor_type="command", action="ISSUE_TOKEN").count() == 2


def json_documents(text):
    decoder, position = json.JSONDecoder(), 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = decoder.raw_decode(text, position)
        yield value


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#]+)", document.read_text())

    missing = [
        target
        for target in targets
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_and_commands_that_are_named_exist(document):
    text = document.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = {path.stem for path in ROOT.glob("*/management/commands/*.py")}
    django = {"check", "createsuperuser", "changepassword"}

    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= commands | django | {"command"}
