"""Runs a program and hears what it says: it is shown, logged and kept. Standard library.

`ear.py HEARD LOG COMMAND...` ends when the program ends, with its status. What that leaves behind,
of which each could hold the pipe open for ever, is ended with it. Neither a terminal that has gone
nor a log that can't be written ends anything; what could not be kept whole in HEARD makes 251 of a
success. It has to be called as the first of a process group.
"""

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress

DEAF = 251
NOT_FOUND = 127
_PAGE = 1 << 16
_PIPE = 1 << 20


class Ear:
    def __init__(self, heard: int, others: list[int]):
        self.heard = heard
        self.others = others
        self.deaf = False

    def hear(self, pipe: int, ended: int) -> None:
        """Until nobody can say more, or the program has ended."""
        while ended not in (ready := select.select([pipe, ended], (), ())[0]):
            if pipe in ready and not self._read(pipe):
                return

    def hear_out(self, pipe: int) -> None:
        """What lies in the pipe, which holds no more than that."""
        for _ in range(_PIPE // _PAGE):
            if not select.select([pipe], (), (), 0)[0] or not self._read(pipe):
                return

    def _read(self, pipe: int) -> bool:
        said = os.read(pipe, _PAGE)
        self._keep(said)
        return bool(said)

    def _keep(self, said: bytes) -> None:
        for place in self.others:
            with suppress(OSError):
                _write(place, said)
        try:
            _write(self.heard, said)
        except OSError:
            self.deaf = True


def _write(place: int, said: bytes) -> None:
    while said:
        said = said[os.write(place, said) :]


def run(ear: Ear, command: list[str]) -> int:
    """Its status, as a shell has it. It inherits all that is open, so that locks are its as well,
    and signals that are ignored."""
    says, said = os.pipe()
    over, ended = os.pipe()
    try:
        child = subprocess.Popen(
            command, stdout=said, stderr=said, close_fds=False, restore_signals=False
        )
    except OSError as error:
        os.write(said, f"{command[0]}: {error.strerror}\n".encode("utf-8", "replace"))
        os.close(said)
        ear.hear_out(says)
        return NOT_FOUND
    os.close(said)

    def wait() -> None:
        child.wait()
        os.close(ended)

    threading.Thread(target=wait).start()
    ear.hear(says, over)
    status = child.wait()
    end_the_rest()
    ear.hear_out(says)
    return status if status >= 0 else 128 - status


def end_the_rest() -> None:
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)


def main(heard: str, log: str, *command: str) -> None:
    kept = os.open(heard, os.O_WRONLY | os.O_TRUNC)
    others = [sys.stdout.fileno()]
    with suppress(OSError):
        others.append(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666))
    ear = Ear(kept, others)
    status = run(ear, list(command))
    sys.exit(status or (DEAF if ear.deaf else 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
