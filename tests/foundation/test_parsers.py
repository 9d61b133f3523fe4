"""Whatever a body holds: it is parsed, or refused in the documented way, within bounds."""

import gzip
import io
import json
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError

from compliance_site.foundation.api import parsers
from compliance_site.foundation.api.parsers import (
    BodyTooLarge,
    BoundedJSONParser,
    BrokenLine,
    CompressedJSONParser,
    JSONLinesParser,
    UnsupportedEncoding,
    inflated,
    strict_json,
)

BOUND = 300
REFUSALS = (ParseError, BodyTooLarge, UnsupportedEncoding)

pieces = st.sampled_from(
    [
        *(
            b"{",
            b"}",
            b"[",
            b"]",
            b'"',
            b'"a"',
            b":",
            b",",
            b"\\",
            b"\\ud800",
            b"\\u00",
            b" ",
            b"\r",
            b"\n",
        ),
        *(
            b"NaN",
            b"-Infinity",
            b"1e999",
            b"-",
            b"0",
            b"00",
            b"1.",
            b"null",
            b"\xef\xbb\xbf",
            b"\xff\xfe",
        ),
        *(
            b"\xed\xa0\x80",
            b"\x00",
            b"[" * 50_000,
            b'{"a":' * 50_000,
            b"9" * 5_000,
            b"\x1f\x8b\x08",
        ),
    ]
)
noise = st.lists(pieces | st.binary(max_size=6), max_size=12).map(b"".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
json_bodies = json_values.map(lambda value: json.dumps(value).encode())
bodies = noise | json_bodies | st.tuples(json_bodies, noise).map(b"".join)


@pytest.fixture(scope="module", autouse=True)
def small_bound():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsers, "LARGEST_BODY", BOUND)
        yield


def parse(parser, body, encoding=""):
    request = SimpleNamespace(META={"HTTP_CONTENT_ENCODING": encoding} if encoding else {})
    return parser.parse(io.BytesIO(body), None, {"request": request})


def result_of(parser, body, encoding=""):
    try:
        return parse(parser, body, encoding)
    except REFUSALS as refusal:
        return type(refusal)


@settings(deadline=None)
@given(bodies)
def test_json_is_parsed_or_refused_with_a_sentence(body):
    result = result_of_line(body)

    if isinstance(result, BrokenLine):
        assert result.error.startswith(("This is not JSON: ", "The JSON is nested too deeply."))
        result.error.encode()
    else:
        json.dumps(result)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-le"])
def test_json_in_another_encoding_than_utf_8_is_refused(encoding):
    with pytest.raises(ValueError, match="This is not JSON"):
        strict_json('{"a":1}'.encode(encoding))


def test_an_encoded_surrogate_is_refused_and_a_byte_order_mark_is_not():
    with pytest.raises(ValueError, match="This is not JSON: 'utf-8' codec"):
        strict_json(b'"\xed\xa0\x80"')

    assert strict_json(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    assert parse(JSONLinesParser(), b"\xef\xbb\xbf1\n2") == [1, 2]


@given(json_values)
def test_json_comes_back_as_it_was(value):
    assert strict_json(json.dumps(value)) == value


@settings(deadline=None)
@given(bodies)
def test_a_body_is_bounded_before_it_is_parsed(body):
    result = result_of(BoundedJSONParser(), body)

    assert (result is BodyTooLarge) == (len(body) > BOUND)


def compressed(body, kind):
    if kind == "gzip":
        return gzip.compress(body)
    if kind == "twice":
        return gzip.compress(gzip.compress(body))
    if kind == "named":
        file = io.BytesIO()
        with gzip.GzipFile("\u00fc" * 50, "wb", fileobj=file) as member:
            member.write(body)
        return file.getvalue()
    if kind == "members":
        return gzip.compress(body) + gzip.compress(body)
    return zlib.compress(body)


@st.composite
def damaged(draw):
    """Return something like gzip: cut, with a byte changed, or followed by something."""
    body = bytearray(
        compressed(draw(bodies), draw(st.sampled_from(["gzip", "named", "members", "zlib"])))
    )
    place = draw(st.integers(0, len(body) - 1))
    match draw(st.sampled_from(["cut", "flip", "append", "insert"])):
        case "cut":
            del body[place:]
        case "flip":
            body[place] ^= draw(st.integers(1, 255))
        case "append":
            body += draw(st.binary(min_size=1, max_size=9))
        case "insert":
            body[place:place] = draw(st.binary(min_size=1, max_size=9))
    return bytes(body)


@settings(deadline=None)
@given(damaged() | st.binary(max_size=40))
def test_what_is_no_gzip_is_refused_and_nothing_inflates_beyond_the_bound(body):
    try:
        content = inflated(body)
    except (ParseError, BodyTooLarge):
        return
    assert len(content) <= BOUND
    assert content == gzip.decompress(body)


@settings(deadline=None)
@example(b"x" * BOUND, "gzip")
@example(b"x" * (BOUND + 1), "gzip")
@given(bodies | st.integers(BOUND - 2, BOUND + 2).map(bytes), st.sampled_from(["gzip", "named"]))
def test_gzip_gives_what_went_in_or_says_that_it_is_too_large(body, kind):
    try:
        content = inflated(compressed(body, kind))
    except BodyTooLarge:
        assert len(body) > BOUND
    else:
        assert content == body
        assert len(body) <= BOUND


@settings(deadline=None)
@given(json_bodies, st.sampled_from(["twice", "members", "zlib"]))
def test_gzip_of_gzip_and_other_than_one_member_are_refused(body, kind):
    assert result_of(CompressedJSONParser(), compressed(body, kind), "gzip") in REFUSALS


@settings(deadline=None)
@given(
    bodies,
    st.text(max_size=60) | st.sampled_from(["gzip", " GZip ", "x-gzip", "identity", "gzip, gzip"]),
)
def test_any_encoding_is_known_or_refused(body, encoding):
    result = result_of(CompressedJSONParser(), body, encoding)

    if encoding.strip().lower() not in ("", "identity", "gzip", "x-gzip"):
        assert result is UnsupportedEncoding


@settings(deadline=None)
@given(st.lists(bodies, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]))
def test_each_line_is_judged_alone(lines, end):
    body = end.join(lines)
    result = result_of(JSONLinesParser(), body)

    if len(body) > BOUND:
        assert result is BodyTooLarge
        return
    expected = [result_of_line(line) for line in body.split(b"\n") if line.strip(b" \t\r\x0b\x0c")]
    assert result == expected


def result_of_line(line):
    try:
        return strict_json(line)
    except ValueError as refusal:
        return BrokenLine(str(refusal))
