"""The process that a pipeline runs in. `step()` holds Python's interpreter lock and a broken model
can crash the runtime, so both are kept out of the server's process.

`python -m ov_server.worker FD`: answers commands on a socket until it is closed.
"""

import socket
import sys
from contextlib import suppress
from typing import Any

from .channel import Channel
from .errors import said
from .remote import Failed, Ready, Start, Step, Stepped


def serve(channel: Channel) -> None:
    """Answers commands until the other side hangs up."""
    pipeline: Any = None
    last = Step(0, (), (), free=False)
    while True:
        try:
            if not (last.free and pipeline.busy()) or channel.waiting():
                command = channel.receive()
            else:
                command = Step(last.number, (), (), free=True)
            if isinstance(command, Start):
                pipeline, answer = _start(command)
            else:
                last = command
                answer = _step(pipeline, command)
        except (EOFError, ConnectionError):
            return
        except Exception as error:
            last = Step(last.number, (), (), free=False)
            answer = Failed(said(error))
        channel.send(answer)


def _start(command: Start) -> tuple[Any, Ready]:
    from .pipelines import Paged

    pipeline = Paged(
        command.path,
        command.device,
        command.properties,
        kv_cache_gb=command.kv_cache_gb,
        chunk=command.chunk,
    )
    return pipeline, Ready(pipeline.block, pipeline.warm_up())


def _step(pipeline: Any, command: Step) -> Stepped:
    for key in command.cancels:
        pipeline.cancel(key)
    for add in command.adds:
        pipeline.add(*add)
    outputs = pipeline.step() if pipeline.busy() else []
    return Stepped(command.number, outputs, pipeline.busy(), pipeline.kv_usage())


if __name__ == "__main__":
    with suppress(ConnectionError, KeyboardInterrupt):
        serve(Channel(socket.socket(fileno=int(sys.argv[1]))))
