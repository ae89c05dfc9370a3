"""How log lines look: for people, or one JSON object each."""

import json
import logging
import time


class TextLines(logging.Formatter):
    """One line for people; facts as name=value behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        facts = getattr(record, "facts", {})
        said = [f"{k}={v}" for k, v in facts.items() if v is not None]
        line = " ".join([super().formatMessage(record), *said])
        return line if line.isprintable() else "".join(map(_printable, line))


def _printable(char: str) -> str:
    """A client's words must not look like lines of the log, or move the terminal's cursor."""
    return char if char.isprintable() else ascii(char)[1:-1]


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(level: str, form: str) -> None:
    """This package's lines to standard error; uvicorn's access lines would only repeat them."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logger = logging.getLogger("ov_server")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
    logging.getLogger("uvicorn.access").disabled = True
