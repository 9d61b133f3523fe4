"""What every measurement prints and keeps: one ratio, with its least and its greatest."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Pair:
    """Two rates measured one after the other: ours, and what it is held against."""

    ours: float
    reference: float

    @property
    def ratio(self) -> float:
        return self.ours / self.reference


def report(name: str, pairs: Sequence[Pair], *, unit: str, target: str, rows: int) -> None:
    """Print the result as one JSON line and write it to `bench/results/<name>.json`."""
    _keep(
        name,
        {
            "value": _spread([pair.ratio for pair in pairs]),
            "unit": unit,
            "target": target,
            "pairs": [{key: round(rate) for key, rate in asdict(pair).items()} for pair in pairs],
            "rows": rows,
        },
    )


def report_time(name: str, seconds: Sequence[float], *, target: str, rows: int) -> None:
    """Report what has nothing to be held against but a clock."""
    _keep(name, {"value": _spread(seconds), "unit": "s", "target": target, "rows": rows})


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def _keep(name: str, figures: dict[str, object]) -> None:
    line = json.dumps({"name": name, **figures, "machine": machine()})
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(line + "\n")
    print(line, flush=True)


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
