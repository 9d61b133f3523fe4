"""A bucket that speaks S3. Credentials come from where boto3 finds them, never from the path.

A file appears when its upload is completed, on condition that there is none of its name.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, BinaryIO

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from django.conf import settings
from urllib3.exceptions import HTTPError

from recovery.exceptions import ConfigurationError, StoreError
from recovery.stores.base import FILE_NAME, Sink, Store, split

PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/-]*))?")
# Parts are of one size, which some services demand; 10,000 of them are the most: 640 GB.
PART_BYTES = 64 << 20
ABANDONED_AFTER = timedelta(days=1)
DEADLINES = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"max_attempts": 3, "mode": "standard"},
    # Only where the service asks for them: others do not know them.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class _Upload:
    """Bytes on their way; a small file goes in one request."""

    def __init__(self, store: S3Store, name: str, *, replace: bool) -> None:
        self._store = store
        self._place = {"Bucket": store.bucket, "Key": store.key(name)}
        # Atomic: whoever is second is told so.
        self._condition = {} if replace else {"IfNoneMatch": "*"}
        self._waiting = bytearray()
        self._parts: list[dict[str, Any]] = []
        self._upload: str | None = None

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) >= PART_BYTES:
            self._send(bytes(self._waiting[:PART_BYTES]))
            del self._waiting[:PART_BYTES]
        return len(data)

    def commit(self) -> None:
        with self._store.told():
            if self._upload is None:
                self._store.client.put_object(
                    **self._place, **self._condition, Body=bytes(self._waiting)
                )
                return
        if self._waiting:
            self._send(bytes(self._waiting))
        with self._store.told():
            self._store.client.complete_multipart_upload(
                **self._place,
                **self._condition,
                UploadId=self._upload,
                MultipartUpload={"Parts": self._parts},
            )
        self._upload = None

    def abandon(self) -> None:
        if self._upload is not None:
            with self._store.told():
                self._store.client.abort_multipart_upload(**self._place, UploadId=self._upload)

    def _send(self, part: bytes) -> None:
        number = len(self._parts) + 1
        with self._store.told():
            if self._upload is None:
                begun = self._store.client.create_multipart_upload(**self._place)
                self._upload = begun["UploadId"]
            sent = self._store.client.upload_part(
                **self._place, UploadId=self._upload, PartNumber=number, Body=part
            )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})


class _Download(io.RawIOBase):
    """An object's body, its errors told as the store's."""

    def __init__(self, store: S3Store, body: Any) -> None:
        self._store = store
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._store.told():
            part = self._body.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


class S3Store(Store):
    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.name = f"s3://{bucket}/{prefix}".rstrip("/")

    @classmethod
    def of(cls, entry: str, place: int) -> S3Store:
        found = PLACE.fullmatch(entry)
        if not found or ".." in entry:
            raise ConfigurationError(
                f"BACKUP_STORAGE_PATH: entry {place} must read s3://bucket/prefix; credentials are "
                "found in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by the machine's role."
            )
        prefix = (found[2] or "").strip("/")
        return cls(found[1], f"{prefix}/" if prefix else "")

    @cached_property
    def client(self) -> Any:
        endpoint = settings.BACKUP_S3_ENDPOINT_URL or None
        with self.told():
            # A session of its own: the shared one is not safe between threads.
            session = boto3.session.Session()
            try:
                return session.client("s3", endpoint_url=endpoint, config=DEADLINES)
            except ValueError:
                raise StoreError("BACKUP_S3_ENDPOINT_URL must read https://host:port.") from None

    def key(self, name: str) -> str:
        split(name)
        return self.prefix + name

    @contextmanager
    def create(self, name: str, *, replace: bool = False) -> Iterator[Sink]:
        upload = _Upload(self, name, replace=replace)
        try:
            yield upload
        finally:
            upload.abandon()

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        with self.told():
            answer = self.client.get_object(Bucket=self.bucket, Key=self.key(name))
        with answer["Body"] as body:
            yield io.BufferedReader(_Download(self, body), buffer_size=1 << 20)

    def names(self, database: str) -> Iterator[str]:
        pages = self._pages("list_objects_v2", f"{database}/", Delimiter="/")
        for page in pages:
            for entry in page.get("Contents", ()):
                name = entry["Key"][len(self.prefix) :]
                if FILE_NAME.fullmatch(name):
                    yield name

    def size(self, name: str) -> int:
        with self.told():
            head = self.client.head_object(Bucket=self.bucket, Key=self.key(name))
        return int(head["ContentLength"])

    def delete(self, name: str) -> None:
        with self.told():
            self.client.delete_object(Bucket=self.bucket, Key=self.key(name))

    def is_there(self) -> bool:
        """Say yes: a bucket is never made, and one that is missing says so when it is asked."""
        return True

    def free_bytes(self) -> int | None:
        return None

    def sweep(self, database: str) -> None:
        """Abort uploads that began a day ago: a younger one may be another machine's."""
        begun_before = datetime.now(UTC) - ABANDONED_AFTER
        for page in self._pages("list_multipart_uploads", f"{database}/"):
            for upload in page.get("Uploads", ()):
                if upload["Initiated"] < begun_before:
                    self._abort(upload)

    def _abort(self, upload: dict[str, Any]) -> None:
        with self.told():
            self.client.abort_multipart_upload(
                Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )

    def _pages(self, operation: str, prefix: str, **options: Any) -> list[dict[str, Any]]:
        with self.told():
            pages = self.client.get_paginator(operation).paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix, **options
            )
            return list(pages)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Raise `StoreError` without the library's text, which may quote a request."""
        try:
            yield
        except ClientError as exc:
            answer = exc.response
            code = re.sub(r"\W", "", str(answer.get("Error", {}).get("Code", "")))[:60]
            raise StoreError(
                f"{self.name}: {REASONS.get(code) or f'it answered {code}'}."
            ) from None
        except (NoCredentialsError, PartialCredentialsError):
            raise StoreError(
                f"{self.name}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or give the machine a role."
            ) from None
        except (BotoCoreError, HTTPClientError, HTTPError, OSError) as exc:
            raise StoreError(f"{self.name}: no answer ({type(exc).__name__}).") from None


REASONS = {
    "NoSuchBucket": "the bucket does not exist",
    "NoSuchKey": "the file is not there",
    "404": "the file is not there",
    "AccessDenied": "access is denied",
    "403": "access is denied",
    "InvalidAccessKeyId": "the access key is unknown",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "PreconditionFailed": "a file of this name is there already",
    "QuotaExceeded": "it is full",
}
