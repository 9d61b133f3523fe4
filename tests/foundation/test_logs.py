import json
import logging
import logging.config
import re
from pathlib import Path

import pytest

from audit.capture.actors import Actor, acting_as
from compliance_site.foundation import logs
from compliance_site.foundation.logs import logging_config


@pytest.fixture
def log_lines(tmp_path):
    """Log to a file as with LOG_DIR, and read the lines back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    config = logging_config(
        level="INFO",
        directory=tmp_path,
        process="web",
        formatter="pythonjsonlogger.json.JsonFormatter",
    )
    logging.config.dictConfig(config)
    yield lambda: [json.loads(line) for line in (tmp_path / "web.log").read_text().splitlines()]
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level = before


def test_each_line_is_json_with_request_id_and_actor(log_lines):
    with acting_as(Actor("task", "audit.make_partitions"), request_id="task-1"):
        logging.getLogger("audit").warning("made %s", "two\nlines")

    (line,) = log_lines()
    assert line.pop("time")
    assert line == {
        "level": "WARNING",
        "logger": "audit",
        "message": "made two\nlines",
        "request_id": "task-1",
        "actor": "task audit.make_partitions",
    }


def test_outside_any_context_a_line_says_less(log_lines):
    logging.getLogger("audit").info("alone")

    assert "request_id" not in log_lines()[0]


def test_the_foundation_names_no_app():
    folder = Path(logs.__file__).parent
    folders = {path.parent.name for path in folder.parents[1].glob("*/apps.py")}
    names = folders - {folder.parent.name}
    of_an_app = re.compile(rf"""(?:import |from |["'])({"|".join(sorted(names))})[. ]""")

    naming = [path.name for path in folder.rglob("*.py") if of_an_app.search(path.read_text())]

    assert "audit" in names
    assert naming == []
