"""Run several programs as one: prefixed logs, restarts, and nobody left behind.

Each program runs on a leash, a small process that holds the reading end of a pipe from the
supervisor. When the pipe closes, because the supervisor stops or because it was killed, the
leash stops the program and everything the program started. A death signal of the kernel
(PR_SET_PDEATHSIG) would reach the program only, not what it started, and only on Linux; a
file with process ids would help only when the console starts again.
"""

from compliance_site.foundation.supervisor.lock import ConsoleLockedError, only_console
from compliance_site.foundation.supervisor.program import Pace, Program
from compliance_site.foundation.supervisor.supervise import Supervisor

__all__ = ["ConsoleLockedError", "Pace", "Program", "Supervisor", "only_console"]
