import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from compliance_site.foundation.master_key import MasterKey, Ring
from recovery.backups import manifest as manifests
from recovery.backups.manifest import DatabaseFacts, Manifest, TableFacts
from recovery.exceptions import DamagedError, SealError

FACTS = DatabaseFacts(
    server_version=180006,
    owner="orders",
    encoding="UTF8",
    locale={"provider": "b", "locale": "C.UTF-8", "collate": "C", "ctype": "C", "version": "1"},
    settings=(("", "search_path"),),
    acl=("orders=CTc/orders",),
    comment="",
    connection_limit=-1,
    extensions={"plpgsql": "1.0"},
    roles=("orders",),
    size_bytes=8_000_000,
)
MANIFEST = Manifest(
    id="20261123T020000Z-3f9ac1",
    database="orders",
    dbname="orders_production",
    kind="logical",
    taken_at=datetime(2026, 11, 23, 2, tzinfo=UTC),
    finished_at=datetime(2026, 11, 23, 2, 1, tzinfo=UTC),
    file="20261123T020000Z-3f9ac1.tar.age",
    size=1234,
    sha256="ab" * 32,
    recipients=("age1xyz",),
    program="pg_dump (PostgreSQL) 18.6",
    facts=FACTS,
    tables=(TableFacts("public", "orders", 3, "17"),),
)


def test_a_manifest_comes_back_as_it_was_signed():
    assert manifests.parse(MANIFEST.signed()) == MANIFEST


@pytest.mark.parametrize("field", ["sha256", "taken_at", "tables", "signer"])
def test_a_changed_manifest_is_no_manifest(field):
    body = json.loads(MANIFEST.signed())
    body[field] = {"signer": body["signer"], "tables": []}.get(field, "0")
    body["database"] += "x" if field == "signer" else ""

    with pytest.raises(DamagedError, match="was changed"):
        manifests.parse(json.dumps(body).encode())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"[" * 100_000, b'{"signature": 5}', b"\xff"]
)
def test_what_is_no_manifest_is_damaged(content):
    with pytest.raises(DamagedError):
        manifests.parse(content)


def test_a_manifest_of_before_the_master_key_was_rotated_is_still_known(settings):
    signed = MANIFEST.signed()
    old = Ring.of(settings.COMPLIANCE_MASTER_KEY)

    settings.COMPLIANCE_MASTER_KEY = old.with_first(MasterKey.new()).text
    assert manifests.parse(signed) == MANIFEST

    settings.COMPLIANCE_MASTER_KEY = Ring((MasterKey.new(),)).text
    with pytest.raises(SealError, match="No master key"):
        manifests.parse(signed)


def test_another_format_is_named():
    with pytest.raises(DamagedError, match="format 2"):
        manifests.parse(replace(MANIFEST, format=2).signed())


def test_a_manifest_names_settings_without_their_values():
    facts = replace(FACTS, settings=(("", "app.key=geheim"), ("orders", "work_mem=8MB")))

    assert facts.without_values().settings == (("", "app.key"), ("orders", "work_mem"))
