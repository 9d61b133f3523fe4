"""How far a backup is, for people: one line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

LINE_SECONDS = 0.2
PLAIN_SECONDS = 30.0


@dataclass
class Progress:
    """Says phases and bytes into `stream`; says nothing without one."""

    stream: TextIO | None = None
    _phase: str = ""
    _total: int = 0
    _began_at: float = 0.0
    _said_at: float = field(default=0.0)

    def phase(self, name: str, total: int = 0) -> None:
        """Begin a phase; `total` is in bytes, 0 where nobody knows."""
        self._end_line()
        self._phase, self._total = name, total
        self._began_at = self._said_at = time.monotonic()
        if not self._is_terminal:
            self.say(f"{name} ...")

    def reached(self, done: int) -> None:
        """Say how many bytes of the phase are done, not more often than anybody reads."""
        now = time.monotonic()
        if self.stream is None or now - self._said_at < self._pause:
            return
        self._said_at = now
        line = f"{self._phase}: {self._amount(done)}{self._left(done, now)}"
        self.stream.write(f"\r\033[K{line}" if self._is_terminal else f"{line}\n")
        self.stream.flush()

    def say(self, sentence: str) -> None:
        if self.stream is not None:
            self._end_line()
            self.stream.write(f"{sentence}\n")
            self.stream.flush()

    def done(self) -> None:
        """Leave the terminal's line clean for what comes after."""
        self._end_line()

    @property
    def _is_terminal(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    @property
    def _pause(self) -> float:
        return LINE_SECONDS if self._is_terminal else PLAIN_SECONDS

    def _end_line(self) -> None:
        if self.stream is not None and self._is_terminal:
            self.stream.write("\r\033[K")
            self.stream.flush()

    def _amount(self, done: int) -> str:
        if self._total <= done:
            return size_text(done)
        return f"{size_text(done)} of about {size_text(self._total)}"

    def _left(self, done: int, now: float) -> str:
        if not 0 < done < self._total:
            return ""
        seconds = (now - self._began_at) * (self._total - done) / done
        return f", {time_text(seconds)} left"


def size_text(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def moment_text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def time_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
