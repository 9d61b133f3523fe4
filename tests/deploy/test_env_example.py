import ast
import os
import re
import subprocess
from itertools import pairwise

import pytest

from tests.deploy.conftest import LINE

NO_DEFAULT = object()


def programs(root):
    yield root / "manage.py"
    yield from (root / "deploy").glob("*.py")
    for package in root.glob("*/__init__.py"):
        if package.parent.name != "tests":
            yield from package.parent.rglob("*.py")


def reads(program):
    """Every variable that a program reads by a literal name, and its default if that is literal."""
    for node in ast.walk(ast.parse(program.read_text())):
        match node:
            case ast.Call(
                func=ast.Name(id=reader), args=[ast.Constant(value=str(name)), *rest]
            ) if reader.startswith("env_"):
                yield name, literal(rest)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="os"), attr="getenv")
                | ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"),
                args=[ast.Constant(value=str(name)), *rest],
            ):
                yield name, literal(rest)
            case ast.Subscript(
                value=ast.Attribute(attr="environ"),
                slice=ast.Constant(value=str(name)),
                ctx=ast.Load(),
            ):
                yield name, NO_DEFAULT


def literal(arguments):
    try:
        return ast.literal_eval(arguments[0]) if arguments else NO_DEFAULT
    except ValueError:
        return NO_DEFAULT


def written(default):
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default)


@pytest.fixture(scope="module")
def code_reads(root):
    return [read for program in programs(root) for read in reads(program)]


def referred(text):
    return set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)[:}?-]", text))


def passed_on(compose):
    """Variables without a value: Compose takes them from .env."""
    return {
        name
        for service in compose["services"].values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }


def test_every_variable_that_is_read_has_a_line_and_no_other_has(
    root, compose, documented, code_reads
):
    scripts = [*(root / "deploy").glob("*.sh"), root / "docker-compose.yml", root / ".env.example"]
    read = {name for name, _ in code_reads} | passed_on(compose)
    read |= {name for script in scripts for name in referred(script.read_text())}

    assert documented.keys() == read


def test_documented_defaults_are_those_of_the_code(example_lines, code_reads):
    defaults = {}
    for name, default in code_reads:
        defaults.setdefault(name, set()).add(written(default))

    for line in example_lines:
        match = LINE.match(line)
        if match and match[2] and line.startswith("# "):
            assert match[2] in defaults[match[1]], line


def test_every_variable_is_explained_in_the_line_above(example_lines):
    for above, line in pairwise(example_lines):
        if LINE.match(line):
            assert above.startswith("# "), line
            assert not LINE.match(above), line


def test_no_secret_has_a_value(example_lines):
    assert [line for line in example_lines if re.match(r"\w*(PASSWORD|KEY|TOKEN)=.", line)] == []
    assert not re.search(r"://[^$\s]*:[^$\s]+@", "\n".join(example_lines))


@pytest.fixture
def made(tmp_path, root):
    """A folder with the two files that `make_env.sh` needs."""
    (tmp_path / "deploy").mkdir()
    for name in (".env.example", "deploy/make_env.sh"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    return tmp_path


def make_env(folder):
    return subprocess.run(
        ["sh", folder / "deploy/make_env.sh"], capture_output=True, text=True, check=False
    )


def test_make_env_fills_every_empty_place_with_another_secret(made, example_lines):
    assert make_env(made).returncode == 0

    lines = (made / ".env").read_text().splitlines()
    secrets = [line.split("=")[1] for line in lines if line not in example_lines]
    empty = [line for line in example_lines if re.fullmatch(r"[A-Z_]+=", line)]
    assert len(lines) == len(example_lines)
    assert len(set(secrets)) == len(empty) == 6
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in secrets)
    assert os.stat(made / ".env").st_mode & 0o777 == 0o600


def test_make_env_keeps_the_one_that_is_there(made):
    (made / ".env").write_text("mine")

    result = make_env(made)

    assert result.returncode == 1
    assert "exists" in result.stderr
    assert (made / ".env").read_text() == "mine"
