"""The error tree. A dialect renders these; nothing else turns an error into a status.

ServerError
├── BadRequest            400  the request can't be honoured; `param` names the field
│   └── ContextTooLong    400  the prompt does not fit the model's context
├── Unauthorized          401  no key, or none of this server's
├── Forbidden             403  a host, an origin or a key that is not for this
├── ModelNotFound         404  no model answers to the name
├── NotFound              404  no such path
├── MethodNotAllowed      405  the path takes other methods
├── SessionNotFound       404  no such session, or it is another client's
├── SessionBusy           409  a session's answer still runs, or is that of another request
├── EventsGone            410  what a reader asks for is no longer kept
├── AnswerEnded           410  nobody listened to the answer any more
├── Interrupted           410  the answer's end was lost with the server that made it
├── BodyTooSlow           408  the body does not come, or not in time
├── TooLarge              413  the body is larger than what is read here
├── UnsupportedEncoding   415  the body is compressed
├── QueueFull             429  too many requests wait already
├── RateLimited           429  the key has had its requests of this minute
├── TooManyAtOnce         429  the client has as many requests as its key allows
├── LoadFailed            500  the model's files are there, and it does not load
├── EngineFailed          500  the engine threw while it worked on this request
├── Unavailable           503  no room can be made, or the server is stopping
└── Overdue               504  the request's time is over
"""

import difflib
import json
import re


class ServerError(Exception):
    """An error whose message a client may read; it says what to do next."""

    status = 500
    kind = "server_error"
    code: str | None = None
    retry_after: int | None = None
    """Seconds after which the same request may succeed."""
    worth_retrying = True

    def __init__(self, message: str, *, param: str | None = None, retry_after: int | None = None):
        message = message.encode("utf-8", "replace").decode()  # a name may hold half characters
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after or type(self).retry_after


class BadRequest(ServerError):
    status = 400
    kind = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None):
        super().__init__(message, param=param)
        self.code = code


class ContextTooLong(BadRequest):
    """In OpenAI's words, by which LiteLLM and others recognise it."""

    def __init__(self, limit: int, prompt_tokens: int, *, tools: int = 0, counted: bool = True):
        """`counted`: whether these are all; else the prompt is longer."""
        end = "." if counted else " or more."
        what = f"messages and {tools} functions" if tools else "messages"
        super().__init__(
            f"This model's maximum context length is {limit} tokens. However, your {what} "
            f"resulted in {prompt_tokens} tokens{end} Please reduce the length of the {what}.",
            param="messages",
            code="context_length_exceeded",
        )


class Unauthorized(ServerError):
    status = 401
    kind = "invalid_request_error"
    code = "invalid_api_key"

    def __init__(self, *, shown: bool):
        said = "This API key is not valid here." if shown else "This server needs an API key."
        super().__init__(
            f"{said} Send one of those that its owner keeps in OV_API_KEYS, as "
            "'Authorization: Bearer KEY'."
        )


class Forbidden(ServerError):
    status = 403
    kind = "permission_error"
    code = "forbidden"


class ModelNotFound(ServerError):
    status = 404
    kind = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, name: str, known: list[str], trouble: str | None = None):
        names = ", ".join(known) or "none is registered yet"
        like = difflib.get_close_matches(name[:200], known, 1)
        hint = trouble or (f"Is '{like[0]}' meant?" if like else None)
        said = f"The model '{name[:200]}' does not exist. Models here: {names}."
        super().__init__(f"{said} {hint}" if hint else said, param="model")


class NotFound(ServerError):
    status = 404
    kind = "invalid_request_error"
    code = "not_found"


class MethodNotAllowed(ServerError):
    status = 405
    kind = "invalid_request_error"
    code = "method_not_allowed"


class SessionNotFound(ServerError):
    status = 404
    kind = "invalid_request_error"
    code = "session_not_found"

    def __init__(self, name: str):
        super().__init__(
            f"There is no session '{name[:200]}': it never was, or it ended too long ago "
            "(OV_SESSION_TTL_S, OV_SESSIONS_MB). Send the request again, without Last-Event-ID.",
            param="session_id",
        )


class SessionBusy(ServerError):
    status = 409
    kind = "invalid_request_error"
    code = "session_in_use"


class EventsGone(ServerError):
    status = 410
    kind = "invalid_request_error"
    code = "events_gone"

    def __init__(self, first: int):
        super().__init__(
            f"The events before {first} are no longer kept: the answer is too long for "
            f"OV_SESSIONS_MB. Go on from {first - 1}, or send the request again.",
            param="last_event_id",
        )


class AnswerEnded(ServerError):
    status = 410
    code = "answer_ended"

    def __init__(self) -> None:
        super().__init__(
            "The answer was ended, since nobody listened to it any more. Name a session_id for "
            "answers that are to go on without a reader."
        )


class Interrupted(ServerError):
    status = 410
    code = "answer_interrupted"

    def __init__(self) -> None:
        super().__init__(
            "The rest of this answer is lost: the server was restarted in the middle of it, or "
            "could not keep its end. Send the request again, without Last-Event-ID."
        )


class BodyTooSlow(ServerError):
    status = 408
    kind = "invalid_request_error"
    code = "body_too_slow"


class TooLarge(ServerError):
    status = 413
    kind = "invalid_request_error"
    code = "body_too_large"


class UnsupportedEncoding(ServerError):
    status = 415
    kind = "invalid_request_error"
    code = "unsupported_encoding"


class QueueFull(ServerError):
    status = 429
    kind = "rate_limit_error"
    code = "queue_full"
    retry_after = 5


class RateLimited(ServerError):
    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, limit: int, retry_after: int):
        super().__init__(
            f"This key may make {limit} requests a minute. Try again in {retry_after} s.",
            retry_after=retry_after,
        )


class TooManyAtOnce(ServerError):
    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, most: int, *, retry_after: int):
        super().__init__(
            f"This key may have {most} requests at once. Wait for one of them to end.",
            retry_after=retry_after,
        )


class LoadFailed(ServerError):
    code = "model_load_failed"


class EngineFailed(ServerError):
    code = "engine_failed"


class Unavailable(ServerError):
    status = 503
    code = "unavailable"
    retry_after = 10


class Overdue(ServerError):
    status = 504
    code = "timeout"
    worth_retrying = False

    def __init__(self, seconds: float):
        super().__init__(
            f"The answer was not complete after {seconds:g} seconds. Ask for a shorter one "
            "(max_tokens), or raise the request's timeout or OV_REQUEST_TIMEOUT_S on the server."
        )


_TOLD = ("message", "status", "kind", "code", "param", "retry_after")


def told(problem: ServerError) -> str:
    """An error as a text that outlives the process."""
    return json.dumps({name: getattr(problem, name) for name in _TOLD})


def retold(text: str) -> ServerError:
    """The error that `told` made a text of, as far as clients can see it."""
    values = json.loads(text)
    problem = ServerError(values["message"])
    for name in _TOLD:
        setattr(problem, name, values[name])
    return problem


_PLACE = re.compile(r"^(\[[\d:]+\]\s*)?\S*/\S+?:\d+:\s*|^Exception from \S+:\d*:?\s*")
"""A source file and line, as the runtime puts before its messages."""


_PATH = re.compile(r"(?<=[\"'])/(?!/)(?:[^\"'/\n]+/)+|(?<![\w./])/(?!/)(?:[^\s\"'/]+/)+")
"""The folders of an absolute path; between quotation marks they may hold white space."""


def said(error: BaseException) -> str:
    """What a runtime's error says, without its file names: they help nobody and name paths."""
    lines = [_PLACE.sub("", line).strip(" .!\n") for line in str(error).splitlines()]
    lines = [_PATH.sub("", line) for line in lines]
    telling = [line for line in lines if line and not line.startswith("Check '")]
    return (telling or [type(error).__name__])[0][:300]
