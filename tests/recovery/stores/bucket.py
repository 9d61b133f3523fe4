"""A server that speaks S3: moto's, in a thread of the test process."""

import secrets
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer


@contextmanager
def running():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def client(url):
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test-key",
        aws_secret_access_key="test-secret",
    )


def make(url):
    name = f"bucket-{secrets.token_hex(6)}"
    client(url).create_bucket(Bucket=name)
    return name
