"""Workers that carry one run on and are killed (SIGKILL) at the point they are told to.

Points are counted: after each commit of the run's own rows, and after each thing done to the
target, before anything is written down about it. Each line of the input, `RUN_ID KILL_AT`,
starts a process of its own, forked from one that has loaded Django and touched nothing; the
answer is `killed` or `done`.
"""

import importlib
import os
import signal
import sys

import django

PASSED = 0


def point(kill_at):
    global PASSED
    PASSED += 1
    if kill_at == PASSED:
        os.kill(os.getpid(), signal.SIGKILL)


def after(function, kill_at):
    def wrapped(*arguments, **named):
        result = function(*arguments, **named)
        point(kill_at)
        return result

    return wrapped


def watch(kill_at):
    """Count the points of what the machine calls."""
    from django.db import connection

    from secrets_rotation.rotators import registry
    from secrets_rotation.runs import lease, steps

    def after_commit(function):
        def wrapped(*arguments, **named):
            result = function(*arguments, **named)
            if not connection.in_atomic_block:
                point(kill_at)
            return result

        return wrapped

    for name in ("write", "move", "take_principal", "release_principal"):
        setattr(lease.Lease, name, after_commit(getattr(lease.Lease, name)))
    for name in ("promote", "_end", "_give_up"):
        setattr(steps, name, after_commit(getattr(steps, name)))
    steps.STEPS["VERIFIED"] = steps.promote
    for rotator in registry.ROTATORS.values():
        for name in ("set", "discard", "revoke"):
            setattr(rotator, name, after(getattr(rotator, name), kill_at))


def work(run_id, kill_at):
    from audit.capture.actors import acting_as, task_actor
    from secrets_rotation.runs import machine

    watch(kill_at)
    with acting_as(task_actor("secrets_rotation.advance")):
        machine.advance(run_id)


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance_site.settings")
    django.setup()
    # Loaded once, before the first fork.
    importlib.import_module("secrets_rotation.runs.machine")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work(*map(int, line.split()))
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print({0: "done", -signal.SIGKILL: "killed"}.get(status, f"failed {status}"), flush=True)


if __name__ == "__main__":
    main()
