"""What an answer may be, whatever was asked: what SERVICE_SPEC.md says of errors, and no more."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .swarm import Answer

ROOT = Path(__file__).parents[2]
_SPOKEN = ("Traceback", 'File "', ".py", "site-packages", "object at 0x")
_PLAIN = {408, 414, 431, 400}
"""Statuses of what is no HTTP, which are answered in plain text by who speaks it."""


@dataclass(frozen=True)
class Law:
    """`secrets`: folders of the machine, which no answer may name."""

    secrets: tuple[str, ...] = ()
    faults: frozenset[tuple[int, str | None]] = frozenset()
    """Statuses of 500 and more, and codes, that may be: beside them there is none."""

    @cached_property
    def errors(self) -> frozenset[tuple[int, str | None]]:
        """Status and code of all errors that are described."""
        text = (ROOT / "SERVICE_SPEC.md").read_text()
        rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", text, re.M)
        codes = {
            (int(status), None if code == "none" else code.strip("`"))
            for status, cell in rows
            for code in re.findall(r"none|`\w+`", cell)
        }
        return frozenset({pair for pair in codes if pair[0] < 500} | self.faults)

    def judge(self, method: str, answer: Answer, asked: bytes = b"") -> None:
        """AssertionError, which shows question and answer, for one that may not be."""
        try:
            self._judge(method, answer)
        except (AssertionError, ValueError, KeyError, TypeError) as error:
            raise AssertionError(f"{error}: {asked[:2000]!r} gets {answer}") from error

    def _judge(self, method: str, answer: Answer) -> None:
        text = answer.body.decode()
        for word in (*_SPOKEN, *self.secrets, str(ROOT)):
            assert word not in text, f"it tells {word}"
        kind = answer.headers.get("content-type", "").split(";")[0]
        if method == "HEAD":
            assert answer.status < 500
        elif answer.status >= 400:
            assert kind == "application/json"
            self._problem(answer.status, json.loads(text))
        elif kind == "text/event-stream":
            self._stream(answer)
        elif kind == "application/json":
            json.loads(text, parse_constant=_no_json)
        else:
            assert kind == "text/plain", "a content type that is not known"

    def _problem(self, status: int, said: dict[str, Any]) -> None:
        assert list(said) == ["error"]
        error = said["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert error["message"].strip()
        assert isinstance(error["type"], str)
        assert error["param"] is None or isinstance(error["param"], str)
        assert (status, error["code"]) in self.errors, "an error that is not described"

    def _stream(self, answer: Answer) -> None:
        for data in answer.data[:-1]:
            assert "error" not in json.loads(data, parse_constant=_no_json)
        last = answer.data[-1] if answer.data else "[DONE]"  # one who has it all gets nothing
        if last != "[DONE]" and "error" in (said := json.loads(last)):
            codes = {code for _, code in self.errors}
            assert said["error"]["code"] in codes - {None}, "an error that is not described"


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
