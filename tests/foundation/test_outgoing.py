import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from compliance_site.foundation.outgoing import OutgoingError, check_host, check_url, send
from tests.local_servers import HttpServer, RawServer, serving

LOOPBACK = ipaddress.ip_network("127.0.0.1/32")


@pytest.fixture(autouse=True)
def allowed(settings):
    """Allow one address of this machine; all others of it stand for an inner network."""
    settings.OUTGOING_ALLOWED_NETWORKS = [LOOPBACK]


@pytest.fixture
def resolve_as(monkeypatch):
    """Make the resolver answer with these addresses, one list a look-up, the last one for ever."""
    asked = []

    def install(*answers):
        def fake(host, port, *args, **kwargs):
            asked.append(host)
            addresses = answers[min(len(asked), len(answers)) - 1]
            return [
                (socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port))
                for each in addresses
            ]

        real = socket.getaddrinfo

        def answer(host, port, *args, **kwargs):
            # Connecting to an address passes here too.
            is_name = isinstance(host, str) and host.endswith(".example")
            return (fake if is_name else real)(host, port, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        return asked

    return install


@pytest.fixture
def server():
    with serving(HttpServer(lambda received: (200, {"X-Kind": "test"}, b"hello"))) as running:
        yield running


def test_it_sends_and_returns_the_answer(server):
    answer = send("POST", f"{server.url}/a%20b?x=1", json={"a": 1}, headers={"X-Own": "yes"})

    (received,) = server.received
    assert (answer.status, answer.headers["x-kind"], answer.body) == (200, "test", b"hello")
    assert (received.method, received.path) == ("POST", "/a%20b?x=1")
    assert json.loads(received.body) == {"a": 1}
    assert received.headers["x-own"] == "yes"
    assert received.headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.1.1",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "240.0.0.1",
        "192.88.99.1",
        "::",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "::127.0.0.1",
    ],
)
def test_no_setting_opens_the_way_to_addresses_that_are_nobodys_business(
    address, settings, resolve_as
):
    everything = ("0.0.0.0/0", "::/0")
    settings.OUTGOING_ALLOWED_NETWORKS = [ipaddress.ip_network(each) for each in everything]
    resolve_as(["93.184.216.34", address])

    with pytest.raises(OutgoingError, match=r"api\.example leads to an address that must not"):
        check_url("https://api.example/")
    with pytest.raises(OutgoingError, match="must not be called"):
        check_host("db.example", 5432)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.2",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "::1",
        "fd12::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
    ],
)
def test_a_private_address_needs_the_setting_and_a_database_does_not(address, resolve_as):
    resolve_as(["93.184.216.34", address])

    with pytest.raises(OutgoingError, match="OUTGOING_ALLOWED_NETWORKS"):
        check_url("https://api.example/")
    assert check_host("db.example", 5432) == ("93.184.216.34", address)


def test_an_allowed_network_is_reached_by_each_of_its_spellings(resolve_as):
    resolve_as(["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])

    check_url("http://api.example/")


def test_plain_http_is_for_allowed_networks(resolve_as):
    resolve_as(["93.184.216.34"])

    check_url("https://api.example/")
    with pytest.raises(OutgoingError, match="has to be called by https"):
        check_url("http://api.example/")


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1.2/",
        "http://[::1%25lo]/",
        "http://[::1%lo]/",
        "http://[::g]/",
        "http://user:hunter2@127.0.0.1/",
        "http://127.0.0.1@api.example/",
        "http://api.example\\@127.0.0.1/",
        "http://127.0.0.1 /",
        "http://127.0.0.1\r\nX: y/",
        "http:///nowhere",
        "http://a..example/",
        "http://-a.example/",
        "http://a%2eexample/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:x/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "127.0.0.1",
        "",
        "http://" + "a." * 200 + "example/",
        "http://127.0.0.1/" + "a" * 3_000,
    ],
)
def test_odd_spellings_are_refused_before_anything_is_looked_up(url, resolve_as):
    asked = resolve_as(["127.0.0.1"])

    with pytest.raises(OutgoingError) as refusal:
        check_url(url)

    assert "hunter2" not in str(refusal.value)
    assert asked == []


@pytest.mark.parametrize(
    "host", ["", "a b", "ä" * 100_000, "0x7f.1", "fe80::1%lo", "user@db.example"]
)
def test_a_database_is_named_plainly_too(host):
    with pytest.raises(OutgoingError):
        check_host(host, 5432)


def test_a_host_is_sent_in_ascii_lower_case_without_its_final_dot(server, resolve_as):
    asked = resolve_as(["127.0.0.1"])

    send("GET", f"http://BÜCHER.example.:{server.port}/ä?ö#part")

    assert asked == ["xn--bcher-kva.example"]
    assert server.received[0].headers["host"] == f"xn--bcher-kva.example:{server.port}"
    assert server.received[0].path == "/%C3%A4?%C3%B6"


def test_full_width_digits_are_digits(server):
    assert send("GET", f"http://\uff11\uff12\uff17.0.0.1:{server.port}/").status == 200


def test_a_name_that_leads_elsewhere_the_second_time_is_asked_only_once(server, resolve_as):
    inner = HttpServer(lambda received: (200, {}, b"inner"), "127.0.0.2", server.port)
    asked = resolve_as(["127.0.0.1"], ["127.0.0.2"])

    with serving(inner):
        answer = send("GET", f"http://rebound.example:{server.port}/")

    assert answer.body == b"hello"
    assert asked == ["rebound.example"]
    assert inner.received == []


def test_a_second_address_is_tried_when_the_first_does_not_answer(server, settings, resolve_as):
    settings.OUTGOING_ALLOWED_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]
    resolve_as(["127.0.0.9", "127.0.0.1"])

    assert send("GET", f"http://two.example:{server.port}/").body == b"hello"


def test_a_redirect_is_an_answer_and_not_followed(server):
    to_metadata = {"Location": "http://169.254.169.254/latest/meta-data"}
    to_itself = {"Location": server.url}

    for headers in (to_metadata, to_itself):
        with serving(HttpServer(lambda received, headers=headers: (302, headers, b""))) as lure:
            assert send("GET", lure.url).status == 302
    assert server.received == []


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    with serving(HttpServer(lambda received: (200, {}, b"proxied"))) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)

        assert send("GET", server.url).body == b"hello"


def drip(first):
    """Send a byte often enough that no single read waits long."""
    stop = threading.Event()

    def talk(connection):
        connection.sendall(first)
        while not stop.wait(0.02):
            connection.sendall(b"a")

    return talk, stop


@pytest.mark.parametrize(
    "first",
    [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"],
)
def test_the_deadline_holds_however_slowly_it_drips(first):
    talk, stop = drip(first)
    with serving(RawServer(talk)) as slow:
        began = time.monotonic()

        with pytest.raises(OutgoingError, match=r"did not answer within 0\.4 seconds"):
            send("GET", slow.url, timeout=0.4)

        assert time.monotonic() - began < 3
        stop.set()


def test_a_resolver_that_hangs_ends_by_the_deadline_too(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: release.wait(30) and [])

    with pytest.raises(OutgoingError, match="could not be looked up in time"):
        send("GET", "http://slow.example/", timeout=0.2)

    release.set()


def test_a_body_that_does_not_end_is_cut_off():
    def talk(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"a" * 65_536)

    with serving(RawServer(talk)) as endless, pytest.raises(OutgoingError, match="longer than 100"):
        send("GET", endless.url, max_bytes=100_000)


def test_headers_that_do_not_end_are_cut_off():
    def talk(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: " + b"a" * 10_000 + b"\r\n")

    with serving(RawServer(talk)) as endless, pytest.raises(OutgoingError):
        send("GET", endless.url)


def test_what_is_not_http_or_not_there_is_one_error():
    mail = RawServer(lambda connection: connection.sendall(b"220 mail\r\n"))
    with serving(mail) as other, pytest.raises(OutgoingError, match="did not answer in HTTP"):
        send("GET", other.url)
    with pytest.raises(OutgoingError, match="could not be connected to"):
        send("GET", other.url)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "hunter2\r\nX-B: y"},
        {"X-A": "hunter2ä"},
        {"X A": "hunter2"},
        {"Host": "hunter2"},
        {"transfer-encoding": "hunter2"},
        {"Content-Length": "hunter2"},
    ],
)
def test_a_header_smuggles_nothing_and_its_value_is_in_no_error(headers, server):
    with pytest.raises(OutgoingError) as refusal:
        send("POST", server.url, headers=headers, content=b"hunter2")

    causes = [refusal.value, refusal.value.__cause__]
    assert not any("hunter2" in str(each) for each in causes)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    assert server.received == []


def certificate(names, issuer=None):
    """Make a certificate and its key, signed by the issuer or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    signer, signer_name = (issuer[1], issuer[0].subject) if issuer else (key, subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
    )
    if issuer is None:
        names = "digital_signature content_commitment key_encipherment data_encipherment"
        usage = dict.fromkeys(f"{names} key_agreement encipher_only decipher_only".split(), False)
        builder = builder.add_extension(
            x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True
        )
    return builder.sign(signer, hashes.SHA256()), key


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """Trust an authority of the test's own; return a server's context with its certificate."""
    authority = certificate(["authority.example"])
    own, key = certificate(["api.example"], authority)
    (tmp_path / "ca.pem").write_bytes(authority[0].public_bytes(serialization.Encoding.PEM))
    (tmp_path / "own.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + own.public_bytes(serialization.Encoding.PEM)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    context.asked_names = []
    context.sni_callback = lambda connection, name, _: context.asked_names.append(name)
    return context


def test_the_certificate_is_checked_for_the_name_though_an_address_is_called(tls, resolve_as):
    resolve_as(["127.0.0.1"])

    with serving(HttpServer(lambda received: (200, {}, b"safe"), context=tls)) as secure:
        answer = send("GET", f"https://api.example:{secure.port}/")

    assert answer.body == b"safe"
    assert tls.asked_names == ["api.example"]
    assert secure.received[0].headers["host"] == f"api.example:{secure.port}"


def test_a_certificate_for_another_name_or_of_a_stranger_is_refused(tls, resolve_as, monkeypatch):
    resolve_as(["127.0.0.1"])

    with serving(HttpServer(lambda received: (200, {}, b""), context=tls)) as secure:
        with pytest.raises(OutgoingError, match=r"certificate of other\.example:\d+ is not valid"):
            send("GET", f"https://other.example:{secure.port}/")
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(OutgoingError, match="is not valid"):
            send("GET", f"https://api.example:{secure.port}/")

    assert secure.received == []


def test_an_authority_can_be_named_for_one_call(tls, resolve_as, tmp_path, monkeypatch):
    resolve_as(["127.0.0.1"])
    authority = (tmp_path / "ca.pem").read_text()
    monkeypatch.delenv("SSL_CERT_FILE")

    with serving(HttpServer(lambda received: (200, {}, b""), context=tls)) as secure:
        url = f"https://api.example:{secure.port}/"
        assert send("GET", url, ca=authority).status == 200
        with pytest.raises(OutgoingError, match="no certificate in PEM"):
            send("GET", url, ca="hunter2")
