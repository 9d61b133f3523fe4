"""How health is said in JSON: as the user guide has it, or as `application/health+json`.

The latter is draft-inadarei-api-health-check-06, which load balancers and gateways read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from recovery.health.report import Report
from recovery.health.results import Result, Status

# Of these the time of an answer says something; the others only look at what is written down.
TIMED = ("database", "redis")
FIGURES = {
    "active_workers": "activeWorkers",
    "oldest_task_seconds": "oldestTaskSeconds",
    "free_percent": "freePercent",
    "free_bytes": "freeBytes",
    "databases": "databases",
    "databases_amiss": "databasesAmiss",
    "stored_age_seconds": "storedAgeSeconds",
    "verified_age_seconds": "verifiedAgeSeconds",
    "spooled_bytes": "spooledBytes",
    "set_aside_bytes": "setAsideBytes",
    "cpu_usage": "cpuUsage",
    "memory_usage": "memoryUsage",
    "disk_usage": "diskUsage",
}
DRAFT_STATUS = {
    Status.HEALTHY: "pass",
    Status.DEGRADED: "warn",
    Status.UNHEALTHY: "fail",
}
UNITS = {"Seconds": "s", "Bytes": "bytes", "Percent": "percent", "Usage": "percent"}
DATASTORES = ("database", "redis")


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def bare(status: str) -> dict[str, Any]:
    return {"status": status, "timestamp": moment(datetime.now(UTC))}


def part(result: Result) -> dict[str, Any]:
    """Return the answer about one part: its status, its figures, and why it is not healthy."""
    body: dict[str, Any] = {"status": result.status}
    if result.component in TIMED:
        body["responseTime"] = result.response_ms
    body |= {FIGURES[name]: value for name, value in result.figures.items()}
    return body | ({"reason": result.reason} if result.reason else {})


def detailed(report: Report) -> dict[str, Any]:
    return {
        **bare(report.status),
        "components": {result.component: part(result) for result in report.results},
        "metrics": {FIGURES[name]: value for name, value in report.machine.items()},
    }


def draft_bare(status: Status) -> dict[str, Any]:
    return {"status": DRAFT_STATUS[status]}


def draft_detailed(report: Report) -> dict[str, Any]:
    """Return each figure as a check of its own, as the draft wants it."""
    checks = {name: [check] for result in report.results for name, check in _checks(result)}
    for name, value in report.machine.items():
        key = FIGURES[name]
        checks[f"machine:{key}"] = [
            {"componentType": "system", "observedValue": value, "observedUnit": _unit(key)}
        ]
    return draft_bare(report.status) | {"checks": checks}


def _checks(result: Result) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = "datastore" if result.component in DATASTORES else "component"
    said = {
        "componentType": kind,
        "status": DRAFT_STATUS[result.status],
        "time": moment(result.taken_at),
    }
    if result.reason:
        said["output"] = result.reason
    figures = {FIGURES[name]: value for name, value in result.figures.items()}
    if result.component in TIMED:
        figures = {"responseTime": result.response_ms, **figures}
    for name, value in figures.items():
        if value is not None:
            observed = {"observedValue": value, "observedUnit": _unit(name)}
            yield f"{result.component}:{name}", said | observed
    if all(value is None for value in figures.values()):
        yield result.component, said


def _unit(name: str) -> str:
    if name == "responseTime":
        return "ms"
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "count")
