"""Processes that restore, undo or verify, and send themselves a signal at the point they are told to.

A line of the input, `VERB ID SIGNAL POINT`, starts a process forked from one that has loaded
Django and touched nothing. Points are `before STEP` and `after STEP` for each state that is
written down, and `in NAME` for the middle of a piece of work. The answer is `done STEP`,
`killed`, `stopped PID`, or `failed` and the reason; `resume PID` lets a stopped one go on.
"""

import os
import signal
import sys
import threading

import django


def strike(number):
    os.kill(os.getpid(), number)


class Points:
    """Strikes when the process comes to the point that is wanted."""

    def __init__(self, wanted, number):
        self.wanted, self.number = wanted, number

    def reach(self, point):
        if point == self.wanted:
            strike(self.number)

    def after(self, module, name, point):
        function = getattr(module, name)

        def wrapped(*given, **options):
            result = function(*given, **options)
            self.reach(point)
            return result

        setattr(module, name, wrapped)

    def watch(self):
        from recovery.backups import contents, verify
        from recovery.restore import beside, compare, own_database, properties, swap
        from recovery.restore.state import Restore

        at = Restore.at

        def watched(restore, step, **changes):
            self.reach(f"before {step}")
            result = at(restore, step, **changes)
            self.reach(f"after {step}")
            return result

        Restore.at = watched
        for module, name in (
            (contents, "_refuse_foreign"),
            (beside, "make"),
            (beside, "analyze"),
            (properties, "give"),
            (compare, "differences"),
            (verify.catalogue, "record_verified"),
            (own_database, "record_event"),
        ):
            self.after(module, name, f"in {name}")
        self.watch_load(beside)
        self.watch_swap(swap)

    def watch_load(self, beside):
        """Strike while pg_restore is at work."""
        wait = beside._wait

        def waiting(*given):
            self.reach("in load")
            return wait(*given)

        beside._wait = waiting

    def watch_swap(self, swap):
        """Strike while the rename waits for a session that nobody ends."""
        if self.wanted != "in rename":
            return

        def end_nothing(connection, oids, over):
            query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; SET LOCAL%' AND state = 'active'"
            while connection.execute(query).fetchone() == (0,):
                over.wait(0.01)
            self.reach("in rename")

        swap._end_sessions = end_nothing


def work(verb, identifier, number, point):
    from audit.capture.actors import Actor, acting_as
    from recovery.backups import verify
    from recovery.restore import run, undo

    Points(point, number).watch()
    verbs = {"run": run.run, "resume": run.resume, "undo": undo.undo, "verify": verify.verify}
    with acting_as(Actor("command", "tester: manage.py restore")):
        outcome = verbs[verb](identifier)
    return f"verified-{outcome.passed}" if verb == "verify" else outcome.step


def started(verb, identifier, number, point):
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    try:
        from recovery.exceptions import RecoveryError

        try:
            said = f"done {work(verb, identifier, number, point)}"
        except RecoveryError as exc:
            said = f"failed {type(exc).__name__} {exc}"
        os.write(writing, said.encode())
        os._exit(0)
    finally:
        os._exit(1)


def outcome_of(child, reading):
    status = os.waitpid(child, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        stopped[child] = reading
        return f"stopped {child}"
    said = os.read(reading, 10_000).decode().replace("\n", " ")
    os.close(reading)
    code = os.waitstatus_to_exitcode(status)
    return "killed" if code == -signal.SIGKILL else said or f"broken {code}"


stopped = {}


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance_site.settings")
    django.setup()
    assert threading.active_count() == 1, "a thread would not be in the forks"
    for line in sys.stdin:
        verb, identifier, *rest = line.rstrip("\n").split(" ", 3)
        if verb == "continue":
            os.kill(int(identifier), signal.SIGCONT)
            child, reading = int(identifier), stopped.pop(int(identifier))
        else:
            child, reading = started(verb, identifier, int(rest[0]), rest[1])
        print(outcome_of(child, reading), flush=True)


if __name__ == "__main__":
    main()
