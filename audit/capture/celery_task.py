"""The base of every Celery task: what it records is recorded as done by the task."""

from __future__ import annotations

from typing import Any

from celery import Task

from audit.capture.actors import acting_as, task_actor


class AuditedTask(Task[Any, Any]):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with acting_as(task_actor(self.name), request_id=self.request.id or ""):
            return super().__call__(*args, **kwargs)
