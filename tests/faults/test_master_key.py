"""`manage.py master_key` killed with -9 while others write."""

import json
import re
import subprocess
import sys
import threading

import pytest
from django.db import connection, transaction

from compliance_site.foundation import master_key
from compliance_site.foundation.data_keys import DataKey
from compliance_site.foundation.secret_text import SecretText
from tests.compliance_site.test_master_key_command import (  # noqa: F401
    MANAGE,
    expected,
    key_file,
    make_rows,
    run,
    values,
)

pytestmark = pytest.mark.usefixtures("actor")


class Writers:
    """Programs that go on sealing, making and re-sealing rows while keys change."""

    def __init__(self, threads=3):
        self.written = {}
        self.troubles = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.write, args=[each]) for each in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def write(self, number):
        try:
            for turn in range(1_000_000):
                if self.stopping.is_set():
                    return
                # New rows and, in each writer's own share, rows that are re-wrapped meanwhile.
                self.put(f"new-{number}-{turn}", f"{number} {turn}")
                self.put(f"row-{number}{turn * 37 % 600:04}", f"{number} {turn}")
        except Exception as exc:
            self.troubles.append(exc)
        finally:
            connection.close()

    def put(self, name, text):
        with transaction.atomic():
            row = DataKey.objects.select_for_update().filter(name=name).first() or DataKey(
                name=name
            )
            if row.ciphertext:
                row.unseal()
            row.seal(SecretText(text))
            row.save()
        self.written[name] = text


def test_kill_9_in_the_middle_loses_nothing_with_writers_going_on(committed_db, key_file):  # noqa: F811
    names = [f"row-{number}{each:04}" for number in range(10) for each in range(600)]
    make_rows(*names)
    first = master_key.ring().current

    with Writers() as writers:
        for _ in range(2):
            killed_when_re_wrapping()
        finished = subprocess.run(
            [sys.executable, MANAGE, "master_key", "rewrap"],
            capture_output=True,
            text=True,
            check=False,
        )
    last = json.loads(run("status", "--json"))

    assert writers.troubles == []
    assert finished.returncode == 0, finished.stderr
    assert re.fullmatch(
        r"Re-wrapped \d{3,} rows; all are under master key \w+\.\n", finished.stdout
    )
    keys = master_key.ring().keys
    assert len(keys) == 3
    assert keys[2] == first
    # What a writer had sealed and not yet committed when the ring changed may be left.
    assert sum(sum(key["rows"].values()) for key in last["keys"][1:]) <= 6
    assert len(writers.written) > 50
    assert values() == expected(*names) | writers.written
    assert sorted(each.name for each in key_file.parent.glob("*master_key*")) == ["master_key"]


def killed_when_re_wrapping():
    """Start a rotation and kill -9 it after its second batch; it must not have come further."""
    process = subprocess.Popen(
        [sys.executable, MANAGE, "master_key", "rotate"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    batches = (line for line in process.stderr if line.startswith("Re-wrapped"))
    next(batches), next(batches)
    process.kill()
    output, _ = process.communicate()
    assert output == ""
    current = master_key.ring().current.id
    assert DataKey.objects.exclude(key_id=current).count() > 1000
