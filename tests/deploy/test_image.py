import ast
import importlib
import json
import re
import tomllib
from fnmatch import fnmatch

import pytest
from django.apps import apps
from granian.cli import cli


def arguments(instructions, keyword):
    return [rest for word, rest in instructions if word == keyword]


@pytest.fixture(scope="module")
def let_through(root):
    """What `.dockerignore` lets into the build, everything else stays outside."""
    lines = (root / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return {line.removeprefix("!") for line in lines if line.startswith("!")}


def test_what_is_copied_exists_and_is_let_through(root, instructions, let_through):
    for copy in arguments(instructions, "COPY"):
        *sources, _ = [word for word in copy.split() if not word.startswith("--")]
        if "--from=" not in copy:
            for source in sources:
                assert (root / source).exists()
                assert source == "." or source in let_through


def test_all_that_is_let_through_exists(root, let_through):
    assert [name for name in let_through if not (root / name).exists()] == []


def test_every_application_is_in_the_image_and_nothing_private_is(root, let_through):
    ours = {
        config.name.split(".")[0]
        for config in apps.get_app_configs()
        if (root / config.name.split(".")[0]).is_dir()
    }

    assert ours | {"templates", "manage.py", "requirements/base.txt"} <= let_through
    for private in (".env", ".git", "var", "tests", ".venv"):
        assert not any(fnmatch(private, pattern) for pattern in let_through)


def test_the_image_runs_as_a_fixed_user_who_is_not_root(instructions):
    *_, user = arguments(instructions, "USER")

    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)


def test_the_image_has_a_health_check_that_exists(root, instructions, let_through):
    (check,) = arguments(instructions, "HEALTHCHECK")
    program, script = json.loads(check.split("CMD", 1)[1])

    assert program == "python"
    assert script in let_through
    assert (root / script).is_file()


def test_the_image_holds_locked_wheels_only_and_no_development_group(instructions):
    (install,) = [rest for rest in arguments(instructions, "RUN") if "pip" in rest]

    assert "--require-hashes" in install
    assert "--only-binary :all:" in install
    assert re.findall(r"requirements/\S+", install) == ["requirements/base.txt"]


def test_no_secret_is_kept_in_the_image(instructions):
    kept = arguments(instructions, "ENV") + arguments(instructions, "ARG")

    assert not [line for line in kept if re.search("SECRET|PASSWORD|TOKEN|_URL", line)]


def test_the_image_stops_on_sigterm_and_has_the_projects_version(root, instructions, compose):
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]

    assert arguments(instructions, "STOPSIGNAL") == ["SIGTERM"]
    assert f"VERSION={version}" in arguments(instructions, "ARG")
    assert compose["services"]["backend"]["image"] == f"compliance-console:{version}"


def test_the_image_has_the_projects_python(root, instructions):
    version = (root / ".python-version").read_text().strip()

    assert arguments(instructions, "ARG")[0] == f"BASE=python:{version}-slim"


def test_the_web_server_gets_options_that_it_knows_and_an_application_that_exists(instructions):
    program, *options = ast.literal_eval(arguments(instructions, "CMD")[-1])
    module, name = options[-1].split(":")

    assert program == "granian"
    assert cli.make_context(program, options).params["host"] == "0.0.0.0"
    assert callable(getattr(importlib.import_module(module), name))
