"""Who answers at a port. Standard library.

`port.py HOST PORT` prints `closed`; `other` and what speaks there; or `ours` with status and
version of our server, and a line `reason` for each reason of a degraded one; tabs between. A line
`locked` says that it tells its reasons only who shows another key than OV_SERVER_KEY.
"""

import json
import os
import socket
import sys
from http.client import HTTPConnection, HTTPException

_PATIENCE_S = 10


def main(host: str, port: str) -> None:
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
    connection = HTTPConnection(everywhere.get(host, host), int(port), timeout=_PATIENCE_S)
    try:
        connection.connect()
    except (OSError, socket.gaierror):
        print("closed")
        return
    lines: list[tuple[str, ...]]
    try:
        key = os.environ.get("OV_SERVER_KEY")
        headers = {"Host": "localhost"} | ({"Authorization": f"Bearer {key}"} if key else {})
        connection.request("GET", "/health", headers=headers)
        health = json.loads(connection.getresponse().read(1_000_000))
        said = [] if health.keys() == {"status", "version"} else health["reasons"]
        reasons = [("reason", " ".join(reason.split())) for reason in said]
        lines = [("ours", health["status"], health["version"]), *reasons]
        if "reasons" not in health and health["status"] != "ok":
            lines.append(("locked",))
    except TimeoutError:
        lines = [("other", f"it says nothing for {_PATIENCE_S} s")]
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        lines = [("other", "it is no ov-llm-server")]
    for line in lines:
        print(*line, sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
