import os
import re
import subprocess

import pytest
import yaml


@pytest.fixture(params=["ci.yml"])
def workflow(request, root):
    return yaml.safe_load((root / ".github/workflows" / request.param).read_text())


def test_the_ci_script_can_be_run(root):
    script = root / ".ci/run"

    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_the_ci_script_runs_targets_that_exist(root):
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    steps = re.findall(
        r"^step .*\b(?:make|suite) (.+)$", (root / ".ci/run").read_text(), re.MULTILINE
    )

    assert [step.split() for step in steps] == [
        ["setup"],
        ["lint", "types", "migrations"],
        ["test"],
        ["faults"],
        ["browser"],
    ]
    assert {target for step in steps for target in step.split()} <= targets


def test_every_workflow_is_looked_at(root):
    assert [path.name for path in (root / ".github/workflows").iterdir()] == ["ci.yml"]


def test_the_workflow_may_only_read_and_ends(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 30


def test_actions_are_pinned_by_commit_and_leave_no_credentials(workflow):
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]

    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in actions)
    for step in steps:
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_the_workflow_holds_no_logic(workflow):
    (job,) = workflow["jobs"].values()

    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_hooks_are_local_and_call_the_projects_tools(root):
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())

    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/python -m ")


# Put together here, so that this file does not name them either.
HOSTS = [
    ".".join(parts).encode()
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("debian", "org"),
        ("ubuntu", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
]


def files(root):
    ignored = {line.strip("/") for line in (root / ".gitignore").read_text().splitlines()}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in ignored | {".git"}]
        yield from (os.path.join(folder, name) for name in names if name not in ignored)


def test_no_file_names_a_package_registrys_host(root):
    found = []
    for path in files(root):
        with open(path, "rb") as file:
            content = file.read()
        found += [(path, host) for host in HOSTS if host in content]

    assert found == []
