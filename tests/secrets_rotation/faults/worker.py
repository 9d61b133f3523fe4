"""Workers that carry one run on and send themselves a signal at the point they are told to.

Points are counted: after each commit of the run's own rows, and before and after each thing
done to the target. A line of the input, `RUN_ID POINT SIGNAL`, starts a process of its own,
forked from one that has loaded Django and touched nothing; the answer is `done`, `killed`, or
`stopped` and the process's id. The line `resume PID` lets a stopped one go on to its end.
"""

import importlib
import os
import signal
import sys
import traceback

import django


class Points:
    """Counts the points that this process passes, and sends it the signal at one of them."""

    def __init__(self, wanted, number):
        self.wanted, self.number, self.passed = wanted, number, 0

    def passing(self):
        self.passed += 1
        if self.passed == self.wanted:
            os.kill(os.getpid(), self.number)

    def around(self, function):
        def wrapped(*arguments, **named):
            self.passing()
            result = function(*arguments, **named)
            self.passing()
            return result

        return wrapped

    def after_commit(self, function):
        from django.db import connection

        def wrapped(*arguments, **named):
            result = function(*arguments, **named)
            if not connection.in_atomic_block:
                self.passing()
            return result

        return wrapped

    def watch(self):
        from secrets_rotation.rotators import registry
        from secrets_rotation.runs import lease, steps

        for name in ("write", "move", "take_principal"):
            setattr(lease.Lease, name, self.after_commit(getattr(lease.Lease, name)))
        for name in ("promote", "end", "give_up"):
            setattr(steps, name, self.after_commit(getattr(steps, name)))
        steps.STEPS["VERIFIED"] = steps.promote
        for rotator in registry.ROTATORS.values():
            for name in ("set", "discard", "revoke"):
                setattr(rotator, name, self.around(getattr(rotator, name)))


def work(run_id, point, number):
    from audit.capture.actors import acting_as, task_actor
    from secrets_rotation.runs import machine

    Points(point, number).watch()
    with acting_as(task_actor("secrets_rotation.advance")):
        machine.advance(run_id)


def started(run_id, point, number):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work(run_id, point, number)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def outcome_of(child):
    status = os.waitpid(child, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        return f"stopped {child}"
    status = os.waitstatus_to_exitcode(status)
    return {0: "done", -signal.SIGKILL: "killed"}.get(status, f"failed {status}")


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance_site.settings")
    django.setup()
    # Loaded once, before the first fork.
    importlib.import_module("secrets_rotation.runs.machine")
    for line in sys.stdin:
        first, *others = line.split()
        if first == "resume":
            child = int(others[0])
            os.kill(child, signal.SIGCONT)
        else:
            child = started(int(first), *map(int, others))
        print(outcome_of(child), flush=True)


if __name__ == "__main__":
    main()
