import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# A name with or without a default, as `NAME=` or `# NAME=`.
LINE = re.compile(r"^(?:# )?([A-Z][A-Z0-9_]*)=(.*)$")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="session")
def example_lines():
    return (ROOT / ".env.example").read_text().splitlines()


@pytest.fixture(scope="session")
def documented(example_lines):
    """The variables of .env.example and their values."""
    return {match[1]: match[2] for match in map(LINE.match, example_lines) if match}


@pytest.fixture(scope="session")
def instructions():
    """The Dockerfile's instructions as (keyword, rest), continuation lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]
