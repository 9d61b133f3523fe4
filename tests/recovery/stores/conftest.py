import pytest

from recovery.stores.local import LocalStore
from tests.recovery.disks import small_disk as small_disk
from tests.recovery.stores.bucket import make, running


@pytest.fixture(scope="session")
def s3_url():
    """A server that speaks S3, on this machine."""
    with running() as url:
        yield url


@pytest.fixture
def bucket(s3_url, settings, monkeypatch):
    """The name of an empty bucket of the test's own, with credentials where boto3 finds them."""
    settings.BACKUP_S3_ENDPOINT_URL = s3_url
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return make(s3_url)


@pytest.fixture
def local(tmp_path):
    return LocalStore(tmp_path / "store")
