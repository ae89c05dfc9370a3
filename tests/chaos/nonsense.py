"""Requests for chat completions as nobody should send them: valid ones with something done to them,
bytes that are nearly JSON, and headers of all kinds."""

import copy
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from .local import Headers

JSON = (b"content-type", b"application/json")
NAMES = ("s1", "s2", "s3")
"""Of sessions: few, so that requests meet those of others."""


@dataclass(frozen=True)
class Request:
    body: bytes
    headers: Headers = (JSON,)
    target: bytes = b"/v1/chat/completions"


class Again(str):
    """A name that an object may hold twice."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _tool(name: str, **parameters: Any) -> dict[str, Any]:
    function = {"name": name, "description": "Does it.", "parameters": parameters}
    return {"type": "function", "function": function}


_SAY: list[Any] = [{"role": "user", "content": "Say hello"}]
_SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "minimum": 3},
        "b": {"type": "array", "items": {"enum": ["x", 1, None]}, "maxItems": 3},
        "c": {"type": "string", "pattern": "^[a-f]{2,5}$", "maxLength": 9},
        "d": {"anyOf": [{"$ref": "#/$defs/d"}, {"type": "null"}]},
    },
    "required": ["a", "b"],
    "$defs": {"d": {"type": "object", "properties": {"d": {"$ref": "#/$defs/d"}}}},
}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
_PAST = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Now?"}]},
    {"role": "assistant", "content": None, "tool_calls": [_CALL], "reasoning_content": "hm"},
    {"role": "tool", "tool_call_id": "call_1", "content": "12:00"},
    {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "13:00"},
]
_NUMBERS = {
    "max_tokens": 3,
    "max_completion_tokens": 3,
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.1,
    "presence_penalty": 1,
    "frequency_penalty": -1,
    "repetition_penalty": 1.1,
    "seed": 7,
    "n": 2,
    "timeout": 30,
}
_GRAMMAR = 'root ::= "a" [b-d]{1,3} other\nother ::= "e" | root'

VALID: list[dict[str, Any]] = [
    {"messages": _SAY},
    {"messages": _SAY, "stream": True, "stream_options": {"include_usage": True}},
    {"messages": _PAST, "tools": [_tool("f", **_SCHEMA), _tool("g")], "tool_choice": "auto"},
    {"messages": _SAY, "tools": [_tool("f", **_SCHEMA)], "tool_choice": "required"},
    {
        "messages": _SAY,
        "tools": [_tool("f", **_SCHEMA)],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
    },
    {"messages": _SAY, "functions": [_tool("f")["function"]], "function_call": {"name": "f"}},
    {
        "messages": _SAY,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": _SCHEMA, "strict": True},
        },
    },
    {"messages": _SAY, "response_format": {"type": "json_object", "schema": _SCHEMA}},
    {"messages": _SAY, "guided_regex": "(a|b[c-e]){2,9}\\d+"},
    {"messages": _SAY, "guided_choice": ["yes", "no"]},
    {"messages": _SAY, "grammar": _GRAMMAR},
    {"messages": _SAY, "structured_outputs": {"json": json.dumps(_SCHEMA)}},
    {"messages": _SAY, "stop": ["\n", "END"], "logprobs": True, **_NUMBERS},
    {"messages": _SAY, "session_id": "s1", "stream": True, "priority": "batch"},
    {
        "messages": [*_SAY, {"role": "assistant", "content": "Hel"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "chat_template_kwargs": {"enable_thinking": False},
        "reasoning_effort": "low",
    },
]

_KEYWORDS = [
    *("type", "enum", "const", "$ref", "$defs", "allOf", "anyOf", "oneOf", "not", "if"),
    *("then", "else", "properties", "required", "items", "prefixItems", "contains"),
    *("uniqueItems", "pattern", "format", "minLength", "maxLength", "minimum", "maximum"),
    *(
        "multipleOf",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
        "dependentRequired",
    ),
    *("unevaluatedProperties", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("$schema", "$id", "$anchor", "nullable"),
]
_FIELDS = sorted({name for body in VALID for name in body} | {"model", "logit_bias", "user"})

_TEXTS = st.one_of(
    st.sampled_from(
        [
            *("", " ", "\0", "\ud800", "\udfff\ud800", "\ufeff", "\ufffe", "\u202e", "\u2028"),
            *(
                "👩‍👩‍👧",
                "e\u0301",
                "İ",
                "ﷺ",
                "../../etc/passwd",
                "{{ 7 * 7 }}",
                "{% for %}",
                "%s",
                "{0}",
            ),
            *(
                "<|im_end|>",
                "<tool_call>",
                "</think>",
                "null",
                "NaN",
                "1e999",
                "#/$defs/d",
                "a",
                "b",
            ),
            *("[", "(?<=a)b", "(a+)+$", "\\u{110000}", "[^\\s\\S]", "a{999999}", "root ::= root"),
            *("user", "tool", "system", "object", "string", "required", "json_schema", *NAMES),
        ]
    ),
    st.text(st.characters(), max_size=20),
    st.builds(lambda text, times: text * times, st.text(max_size=3), st.sampled_from([50, 20_000])),
)
_NUMBER = st.one_of(
    st.sampled_from([0, -1, 1, 2, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 1e308, -0.0]),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e-320, 0.1, 1.0]),
    st.integers(),
    st.floats(),
)


def _deep(depth: int, kind: str) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value] if kind == "list" else {kind: value}
    return value


_SCHEMAS = st.recursive(
    st.one_of(
        st.booleans(),
        st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"]).map(
            lambda kind: {"type": kind}
        ),
        st.sampled_from(
            [{"$ref": "#"}, {"$ref": "#/$defs/d"}, {"$ref": "http://x/y"}, {}, _SCHEMA]
        ),
    ),
    lambda inner: st.dictionaries(
        st.sampled_from(_KEYWORDS),
        st.one_of(
            *(inner, st.lists(inner, max_size=3), _NUMBER, _TEXTS, st.lists(_TEXTS, max_size=3)),
            st.dictionaries(st.sampled_from(["a", "b", "^x", ""]), inner, max_size=3),
        ),
        max_size=4,
    ),
    max_leaves=6,
)
_JUNK = st.one_of(
    st.sampled_from([None, True, False, [], {}, [[]], [{}], [None], {"": None}, {"a": {}}]),
    _TEXTS,
    _NUMBER,
    _SCHEMAS,
    st.builds(
        _deep,
        st.sampled_from([5, 60, 300]),
        st.sampled_from(["list", "items", "not", "properties", "a"]),
    ),
    st.lists(_TEXTS, max_size=4),
    st.dictionaries(_TEXTS, _NUMBER | _TEXTS, max_size=4),
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Each part of a value, as what holds it and the key or index there."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, Any]] = []
    for key, part in list(parts):
        found.append((value, key))
        if isinstance(part, dict | list):
            found += _places(part)
    return found


def _kin(value: Any) -> st.SearchStrategy[Any]:
    """Other values of the same type."""
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, int | float):
        return st.one_of(st.integers(-2, 40), st.floats(-2, 3), _NUMBER)
    if isinstance(value, str):
        return _TEXTS
    if isinstance(value, list):
        return st.permutations(value).flatmap(lambda v: st.integers(0, len(v)).map(lambda n: v[n:]))
    return _SCHEMAS


@st.composite
def mutants(draw: st.DrawFn, model: str = "a", **always: Any) -> dict[str, Any]:
    """A valid body to which something has been done, up to three times."""
    body: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        places = _places(body)
        finer = [place for place in places if place[1] not in ("messages", 0, "role", "type")]
        if not finer:
            break
        holder, key = draw(st.sampled_from(finer if draw(st.integers(0, 3)) else places))
        junk = copy.deepcopy(draw(_JUNK))
        match draw(
            st.sampled_from(["swap", "swap", "swap", "drop", "add", "twice", "wrap", "more"])
        ):
            case "swap":
                holder[key] = junk
            case "kin":
                holder[key] = draw(_kin(holder[key]))
            case "drop":
                del holder[key]
            case "add":
                body[draw(st.sampled_from(_FIELDS))] = junk
            case "twice" if isinstance(holder, dict):
                holder[Again(key)] = junk
            case "wrap":
                holder[key] = draw(st.sampled_from([[holder[key]], {"a": holder[key]}]))
            case _ if isinstance(holder, list):
                holder += [copy.deepcopy(holder[key])] * draw(st.sampled_from([1, 40, 2000]))
            case _:
                body |= copy.deepcopy(draw(st.sampled_from(VALID)))
    named = {"model": model} if draw(st.integers(0, 19)) else {"model": draw(_JUNK)}
    return named | body | always


_PATTERNS = st.one_of(
    st.text("ab01[](){}*+?|\\^$.-,:=!<dwsbpDSu", max_size=16),
    st.lists(
        st.sampled_from(
            [
                *(
                    "a",
                    "[a-z]",
                    "[^a]",
                    "\\d+",
                    "(ab|c)",
                    "{2,5}",
                    "{0,300}",
                    "*",
                    "+?",
                    "(?:",
                    ")",
                ),
                *(
                    "|",
                    "(?=a)",
                    "\\b",
                    "^",
                    "$",
                    ".",
                    "\\p{L}",
                    "\\u00e9",
                    "é",
                    "[\\s\\S]",
                    "(?i)",
                    "\\1",
                ),
            ]
        ),
        max_size=6,
    ).map("".join),
)
_RULES = st.lists(
    st.sampled_from(
        [
            *(
                "root ::= ",
                "a ::= ",
                '"x" ',
                "[a-c] ",
                "[^\\n]",
                "a ",
                "root ",
                "| ",
                "( ",
                ") ",
                "* ",
                "+ ",
            ),
            *(
                "{2,9} ",
                "{,3} ",
                "{99999} ",
                "\n",
                "# no\n",
                '"\\x00" ',
                '"\\u00e9\\"" ',
                ". ",
                '""',
                "<think>",
            ),
        ]
    ),
    max_size=9,
).map("".join)


@st.composite
def held(draw: st.DrawFn, model: str, **always: Any) -> dict[str, Any]:
    """A body whose answer is to be held to something odd."""
    schema = draw(_SCHEMAS)
    function = {"name": draw(st.sampled_from(["f", "g.h", "a" * 128])), "parameters": schema}
    strict = draw(st.sampled_from([None, False, True]))
    named = {"name": "n", "schema": schema, "strict": strict}
    form: dict[str, Any] = draw(
        st.one_of(
            st.just({"response_format": {"type": "json_schema", "json_schema": named}}),
            st.builds(
                lambda choice: {
                    "tools": [{"type": "function", "function": {**function, "strict": strict}}],
                    "tool_choice": choice,
                },
                st.sampled_from(["auto", "required"]),
            ),
            _PATTERNS.map(lambda pattern: {"guided_regex": pattern}),
            _PATTERNS.map(lambda pattern: {"guided_json": {"type": "string", "pattern": pattern}}),
            _RULES.map(lambda rules: {"grammar": f"root ::= {rules}"}),
            st.lists(_TEXTS, min_size=1, max_size=3).map(lambda texts: {"guided_choice": texts}),
        )
    )
    return {"model": model, "messages": _SAY, "stream": draw(st.booleans())} | form | always


def written(body: Any, *, ascii_only: bool = True) -> bytes:
    """JSON, or what Python takes for it: NaN, and halves of characters."""
    return json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


_RAW = st.one_of(st.binary(max_size=30), _TEXTS.map(lambda t: t.encode("utf-8", "surrogatepass")))
_HEADERS = st.one_of(
    st.tuples(
        st.sampled_from([b"x-session-id", b"x-request-id"]),
        st.sampled_from([name.encode() for name in NAMES]) | _RAW,
    ),
    st.tuples(
        st.just(b"last-event-id"),
        st.one_of(
            st.builds(
                lambda name, at: f"{name}:{at}".encode(),
                st.sampled_from(NAMES),
                st.sampled_from([-1, 0, 1, 5, 10**11, 10**14, ""]),
            ),
            _RAW,
        ),
    ),
    st.tuples(
        st.sampled_from([b"content-type", b"content-encoding", b"accept", b"expect", b"origin"]),
        st.sampled_from(
            [
                *(b"application/json", b"application/json; charset=utf-16", b"text/plain", b"gzip"),
                *(b"application/x+json", b"application/", b"/json", b"json", b"identity", b""),
                *(b"multipart/form-data", b"null", b"http://test", b"http://[", b"100-continue"),
            ]
        )
        | _RAW,
    ),
    st.tuples(
        st.sampled_from([b"host", b"authorization", b"sec-fetch-site", b"content-length", b"x"]),
        st.sampled_from([b"test", b"Bearer", b"Bearer x", b"cross-site", b"0", b"5", b"[::1]:x"])
        | _RAW,
    ),
)
_QUERIES = st.sampled_from(
    [b"", b"", b"", b"?", b"?last_event_id=s1:0", b"?last_event_id=%ff:\xff"]
)


@st.composite
def near(draw: st.DrawFn) -> Request:
    """A mutant, with the headers that it should have, and now and then with others."""
    body = written(draw(mutants()), ascii_only=draw(st.booleans()))
    more = draw(st.lists(_HEADERS, max_size=2)) if draw(st.integers(0, 3)) == 0 else []
    return Request(body, (JSON, *more), b"/v1/chat/completions" + draw(_QUERIES))


@st.composite
def far(draw: st.DrawFn) -> Request:
    """Bytes that are nearly JSON, or not at all, under any type."""
    text = written(draw(st.sampled_from(VALID)) | {"model": "a"})
    match draw(st.sampled_from(["cut", "splice", "bytes", "encoded", "value", "nested"])):
        case "cut":
            at = draw(st.integers(0, len(text)))
            body = text[:at] if draw(st.booleans()) else text[at:]
        case "splice":
            at = draw(st.integers(0, len(text)))
            body = text[:at] + draw(_RAW) + text[at + draw(st.integers(0, 3)) :]
        case "bytes":
            body = draw(st.binary(max_size=200))
        case "encoded":
            codec = draw(
                st.sampled_from(["utf-16", "utf-32-be", "utf-16-le", "cp037", "utf-8-sig"])
            )
            body = text.decode().encode(codec)
        case "value":
            body = written(draw(_JUNK))
        case _:
            body = draw(st.sampled_from([b"[", b'{"a":', b'{"model":"a","messages":['])) * draw(
                st.sampled_from([10, 5000, 99_000, 200_000])
            )
    headers = draw(st.lists(_HEADERS, max_size=3))
    return Request(body, headers if draw(st.booleans()) else (JSON, *headers))


REQUESTS = st.one_of(near(), near(), near(), near(), far())
