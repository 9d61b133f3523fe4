"""Hand a sealed backup out in constant memory, and record how much of it really left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack

from django.http import StreamingHttpResponse

from audit.capture.actors import current
from audit.capture.recording import record
from audit.models import Action
from recovery.backups import catalogue
from recovery.exceptions import StoreError
from recovery.models import Backup

CHUNK = 1 << 20


class Download:
    """The sealed bytes of a backup: iterate it once; the event is recorded when it is closed.

    A generator would not do: one that was never begun runs nothing when it is closed.
    """

    def __init__(self, backup: Backup) -> None:
        """Open the backup; raise `RecoveryError` before a byte has left."""
        self.backup = backup
        self.manifest = catalogue.manifest_of(backup)
        self.sent = 0
        # Taken now: the stream runs after the request's own context is closed.
        self._circumstances = current()
        self._actor = self._circumstances.actor()
        self._digest = hashlib.sha256()
        self._is_recorded = False
        self._stack = ExitStack()
        self._stream = self._stack.enter_context(catalogue.open_stored(backup))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        # Never more than was announced: the server would break the connection.
        part = self._stream.read(min(CHUNK, self.manifest.size - self.sent))
        if not part:
            self._refuse_short()
            self.close()
            raise StopIteration
        self.sent += len(part)
        self._digest.update(part)
        return part

    def close(self) -> None:
        """Record the download, once: whole, or left in the middle."""
        if self._is_recorded:
            return
        self._is_recorded = True
        self._stack.close()
        is_whole = self.sent == self.manifest.size
        record(
            Action.DOWNLOAD,
            resource=f"/backups/{self.backup.pk}",
            details={
                "database": self.backup.database,
                "size": self.manifest.size,
                "sent": self.sent,
                "completed": is_whole,
                "intact": is_whole and self._digest.hexdigest() == self.manifest.sha256,
            },
            actor=self._actor,
            circumstances=self._circumstances,
        )

    def _refuse_short(self) -> None:
        if self.sent < self.manifest.size:
            self.close()
            raise StoreError(f"The stored file of backup {self.backup.pk} is cut off.")


def file_response(backup: Backup) -> StreamingHttpResponse:
    """Answer with the sealed file to save; raise `RecoveryError` when no store gives it."""
    download = Download(backup)
    manifest = download.manifest
    return StreamingHttpResponse(
        download,
        content_type="application/octet-stream",
        headers={
            "Content-Length": str(manifest.size),
            "Content-Disposition": f'attachment; filename="{manifest.database}-{manifest.file}"',
            "ETag": f'"{manifest.sha256}"',
            "Cache-Control": "no-store",
        },
    )
