import json
import logging
import logging.config

import pytest

from audit.capture.actors import Actor, acting_as
from compliance_site.foundation.logs import logging_config


@pytest.fixture
def log_lines(tmp_path):
    """Log to a file as with LOG_DIR, and read the lines back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logging.config.dictConfig(logging_config(level="INFO", directory=tmp_path, process="web"))
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
