"""What connections say that is hardly HTTP: bytes, halves of requests, many at once, odd heads."""

from hypothesis import strategies as st

from .nonsense import VALID, written

_CHAT = written({"model": "a", **VALID[0]})
_LINES = [
    *(b"GET /health HTTP/1.1", b"POST /v1/chat/completions HTTP/1.1", b"HEAD /v1/models HTTP/1.0"),
    *(
        b"GET /v1/models",
        b"get /health http/1.1",
        b"GET  /health  HTTP/1.1",
        b"GET /health HTTP/9.9",
    ),
    *(b"OPTIONS * HTTP/1.1", b"CONNECT a:80 HTTP/1.1", b"GET http://b/health HTTP/1.1", b""),
    *(
        b"PRI * HTTP/2.0",
        b"TRACE / HTTP/1.1",
        b"M-SEARCH * HTTP/1.1",
        b"GET /%zz%00%ff\xff HTTP/1.1",
    ),
    *(
        b"GET /../../etc/passwd HTTP/1.1",
        b"GET //// HTTP/1.1",
        b"GET ? HTTP/1.1",
        b"\x16\x03\x01\x02",
    ),
    *(b"DELETE /v1/sessions/s1 HTTP/1.1", b"POST /v1/cancel/%2e%2e HTTP/1.1", b"HTTP/1.1 200 OK"),
]
_FIELD_LINES = [
    *(b"Host: test", b"Host:", b"Host: a\r\nHost: b", b"host : test", b"Connection: close", b": x"),
    *(b"Content-Type: application/json", b"Content-Length: %d" % len(_CHAT), b"Content-Length: 5"),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: -1", b"Content-Length: 0"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: x"),
    *(b"Connection: Upgrade\r\nUpgrade: websocket", b"Connection: Upgrade\r\nUpgrade: h2c", b"x"),
    *(
        b"Expect: 100-continue",
        b"X: a\r\n folded",
        b"X: \0",
        b"X\xff: \xff",
        b"X: " + b"a" * 40_000,
    ),
    *(b"X: y\r\n" * 3000 + b"X: y", b"Authorization: Bearer \x80", b"Cookie: " + b"a=b; " * 2000),
]
_BODIES = [
    *(b"", _CHAT, _CHAT[:20], b"5\r\nabcde\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"\0" * 100),
    *(
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(_CHAT), _CHAT),
        b"ffffffffffffffffff\r\n",
        b"0\r\nX: y\r\n\r\n",
    ),
]
_HONEST = [
    b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_CHAT), _CHAT),
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(_CHAT), _CHAT),
]


@st.composite
def _message(draw: st.DrawFn) -> bytes:
    """Nearly a request; sensible ones are among them."""
    line = draw(st.sampled_from(_LINES) | st.binary(max_size=40))
    fields = draw(st.lists(st.sampled_from(_FIELD_LINES) | st.binary(max_size=20), max_size=4))
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]))
    head = end.join([line, b"Host: test", *fields, b"", b""])
    return head + draw(st.sampled_from(_BODIES) | st.binary(max_size=40))


@st.composite
def _cut(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """A part of a message, and perhaps another one where the rest should be."""
    message = draw(messages)
    return message[: draw(st.integers(0, len(message)))] + draw(st.just(b"") | messages)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """What one connection sends, in pieces."""
    honest = st.sampled_from(_HONEST)
    kinds = st.one_of(honest, honest, _cut(honest), _message(), st.binary(max_size=300))
    messages = draw(st.lists(kinds, min_size=1, max_size=3))
    sent = b"".join(messages) * draw(st.sampled_from([1, 1, 1, 1, 30]))
    at = draw(st.integers(0, len(sent)))
    return [sent[:at], sent[at:]] if draw(st.booleans()) else [sent]
