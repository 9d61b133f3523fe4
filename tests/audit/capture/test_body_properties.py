"""Whatever is sent and however it is read: the view gets it, and the log a bounded text."""

import gzip
import io
import json

import pytest
from django.core.handlers.wsgi import WSGIRequest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit.capture.bodies import body_text, copy_body
from audit.capture.body_copy import FORM, BodyCopy
from audit.capture.redaction import parse_json, redact, redact_json_text, storable_text

LONGEST = 20_480
FORMDATA = "multipart/form-data"

# Pieces of what means something to one parser or another, and noise.
tokens = st.sampled_from(
    [
        *(
            b"{",
            b"}",
            b"[",
            b"]",
            b'"',
            b":",
            b",",
            b"\\",
            b"\\u0000",
            b"\\ud800",
            b"\\udc00",
            b"1e999",
        ),
        *(
            b"-0",
            b"NaN",
            b"null",
            b"9" * 30,
            b"0." + b"1" * 30,
            b"\xef\xbb\xbf",
            b"\xff\xfe",
            b"\xfe\xff",
        ),
        *(
            b"&",
            b"=",
            b";",
            b"+",
            b"%",
            b"%00",
            b"%ff",
            b"%7B%22pin%22:1%7D",
            b"\x00",
            b"\xed\xa0\x80",
        ),
        *(
            b"\r\n",
            b"\n",
            b"--b",
            b"--b--",
            b'"pin":',
            b"password=",
            b"4111111111111111",
            b"Bearer abc123",
        ),
        *(b'Content-Disposition: form-data; name="a"', b"Content-Transfer-Encoding: base64"),
    ]
)
noise = st.lists(tokens | st.binary(max_size=8), max_size=30).map(b"".join)
texts = st.text(st.characters(codec=None), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le"])


@st.composite
def json_bodies(draw):
    text = json.dumps(draw(json_values), ensure_ascii=draw(st.booleans()))
    return text.encode(draw(encodings), "surrogatepass")


nested = st.builds(
    lambda opening, times, inner: opening * times + inner,
    st.sampled_from([b"[", b'{"a":', b'{"[": [', b'["\\"[', b"[[],"]),
    st.integers(1, 6000),
    noise,
)
compressed = st.builds(lambda body, again: gzip.compress(body * again, 1), noise, st.integers(1, 3))


@st.composite
def multipart_bodies(draw):
    """Return a body of parts, whole or hostile, and its content type."""
    boundary = draw(
        st.sampled_from([b"b", b"--", b"b" * 80, b"b\xff", b'b"', b"b b", b"", b"b;c=d"])
    )
    names = st.sampled_from(
        ["a", "pin", 'a"b', "\u00fc", "\x00", "user[password]", "../../x", "a" * 300]
    )
    part = st.builds(
        lambda name, file, header, content: b"\r\n".join(
            [
                b"--" + boundary,
                f'Content-Disposition: form-data; name="{name}"{file}'.encode(),
                *header,
                b"",
                content,
            ]
        ),
        names,
        st.sampled_from(
            ["", '; filename="f.txt"', '; filename=""', "; filename*=utf-8''%ff", "; filename"]
        ),
        st.lists(
            st.sampled_from(
                [
                    b"Content-Type: text/plain; charset=bogus",
                    b"Content-Type: text/plain; charset=utf-16",
                    b"Content-Type: ;;;=",
                    b"Content-Transfer-Encoding: base64",
                    b"Content-Length: x",
                    b": ",
                    b"\xff\xfe: \xff",
                ]
            ),
            max_size=2,
        ),
        noise,
    )
    parts = draw(st.lists(part, max_size=4))
    body = b"\r\n".join(
        [*parts, draw(st.sampled_from([b"--" + boundary + b"--\r\n", b"--" + boundary, b""]))]
    )
    if draw(st.integers(0, 3)) == 0:
        body = body[: draw(st.integers(0, len(body)))]
    return body, f"{FORMDATA}; boundary={boundary.decode('latin-1')}"


types = st.sampled_from(
    [
        *(
            "",
            "application/json",
            "application/problem+json",
            "text/plain",
            FORM,
            FORMDATA,
            "/",
            ";",
        ),
        *("APPLICATION/JSON ; charset=utf-16", f"{FORM}; charset=latin-1", f"{FORM};charset=bogus"),
        *(
            f"{FORMDATA}; boundary=b",
            f"{FORMDATA}; boundary=",
            "a/4111111111111111",
            "password=x/y",
        ),
    ]
) | st.text(st.characters(max_codepoint=255), max_size=30)
plain_bodies = noise | json_bodies() | nested | compressed
sent = st.tuples(plain_bodies, types) | multipart_bodies()
limits = st.sampled_from([0, 1, 2, 7, 100, 16 * 1024]) | st.integers(0, 200)


def note_of(text):
    assert storable_text(text) == text
    text.encode()
    assert redact_json_text(text) == text
    return json.loads(text)


@settings(deadline=None)
@given(sent, limits, st.lists(st.integers(0, 50), min_size=1, max_size=5))
def test_any_body_becomes_a_bounded_text_that_redaction_leaves_alone(body_and_type, limit, sizes):
    body, kind = body_and_type
    copy = BodyCopy(limit)
    position = 0
    while position < len(body):
        size = sizes[position % len(sizes)] or len(body)
        copy.add(body[position : position + size])
        position += size

    text = copy.as_request_data(kind)

    assert copy.total == len(body)
    if not body:
        assert text is None
    elif len(body) > limit:
        assert text == f'{{"_truncated":true,"_bytes":{len(body)}}}'
    else:
        note_of(text)
        assert len(text) <= 12 * len(body) + 200


@settings(deadline=None)
@given(json_values, encodings, st.booleans(), st.sampled_from(["application/json", "a/b+json"]))
def test_json_in_every_encoding_is_kept_as_redaction_leaves_it(value, encoding, is_ascii, kind):
    body = json.dumps(value, ensure_ascii=is_ascii).encode(encoding, "surrogatepass")
    copy = BodyCopy()
    copy.add(body)

    sent = redact(parse_json(body.decode(encoding, "surrogatepass")))

    assert note_of(copy.as_request_data(kind)) == sent


def request_of(body, kind):
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    return WSGIRequest(environ)


def form_seen(request):
    files = [
        (name, file.name, file.read(), file.content_type)
        for name, files in request.FILES.lists()
        for file in files
    ]
    return list(request.POST.lists()), files


def outcome(read, request):
    try:
        return read(request)
    except Exception as exc:
        return type(exc)


READERS = {
    "body": lambda request: request.body,
    "lines": lambda request: list(request),
    "form": form_seen,
    "form after body": lambda request: (request.body, form_seen(request)),
    "body after form": lambda request: (form_seen(request), request.body),
    "pieces": lambda request: list(iter(lambda: request.read(7), b"")),
    "line, then the rest": lambda request: (
        request.readline(),
        request.readline(5),
        request.read(),
    ),
    "a part": lambda request: request.read(5),
    "nothing": lambda request: None,
}


# The first use of a combination of patterns compiles it.
@settings(deadline=None)
# Compact, as redaction writes it.
@example((b"--b--\r\n", f"{FORMDATA}; boundary=b"), "a part", 1)
@given(sent, st.sampled_from(sorted(READERS)), limits)
def test_the_view_sees_what_it_would_without_the_copy(body_and_type, reader, limit):
    body, kind = body_and_type
    read = READERS[reader]
    try:
        alone, watched = request_of(body, kind), request_of(body, kind)
    except ValueError:
        return  # Django refuses the header itself.
    copy = copy_body(watched, limit)

    expected, seen = outcome(read, alone), outcome(read, watched)
    text = body_text(watched, copy, LONGEST)

    assert seen == expected
    assert len(text.encode()) <= LONGEST
    if text:
        assert "_captureFailed" not in text
        note_of(text)
    else:
        assert copy.copy.total == 0


def multipart(*parts):
    pieces = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"{rest}\r\n\r\n{content}\r\n'
        for name, rest, content in parts
    ]
    return "".join([*pieces, "--b--\r\n"]).encode()


def recorded(body, kind=f"{FORMDATA}; boundary=b", read=form_seen):
    request = request_of(body, kind)
    copy = copy_body(request, 16 * 1024)
    outcome(read, request)
    return body_text(request, copy, LONGEST)


names = st.sampled_from(["a", "b", "pair", "amount"])
fields = st.tuples(
    names, st.sampled_from(["", "; filename=x.csv"]), st.sampled_from(["", "1", "2"])
)


@example([("amount", "", "1"), ("amount", "; filename=x.csv", "2")])
@example([("a", "; filename=x.csv", "1"), ("a", "; filename=x.csv", "2")])
@given(st.lists(fields, min_size=1, max_size=6))
def test_every_value_and_file_of_a_form_is_described(parts):
    expected = {}
    for is_file in (False, True):
        for name, rest, content in parts:
            file = {"name": "x.csv", "size": len(content), "contentType": ""}
            if is_file == bool(rest):
                expected.setdefault(name, []).append(file if rest else content)

    assert json.loads(recorded(multipart(*parts))) == {
        name: values[0] if len(values) == 1 else values for name, values in expected.items()
    }


UNDECODABLE = ("a", "; filename=x.csv\r\nContent-Transfer-Encoding: base64", "=")


@pytest.mark.parametrize("bad", [[UNDECODABLE], [("a", "; filename=x", "1")] * 101])
def test_a_form_that_django_gives_up_is_not_recorded_as_an_empty_one(bad):
    body = multipart(("amount", "", "1"), *bad)

    assert json.loads(recorded(body)) == {"_contentType": FORMDATA, "_bytes": len(body)}


@pytest.mark.parametrize("sign", ["x", "\u00fc", "\u6f22", "\U0001f600"])
def test_a_form_of_many_bytes_is_only_measured(sign):
    body = multipart(("note", "", sign * (LONGEST // len(sign.encode()))))

    assert json.loads(recorded(body)) == {"_truncated": True, "_bytes": len(body)}
