"""Output that nothing takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ov_server.logs import Outlet, sturdy

ROOT = Path(__file__).parent.parent


def test_what_a_pipe_takes_arrives_whole() -> None:
    end, begin = os.pipe()
    stream = sturdy(sys.stdout, begin)
    text = "ä" * 10_000
    stream.write(text + "\n")
    os.close(begin)
    with os.fdopen(end, encoding="utf-8") as pipe:
        assert pipe.read() == text + "\n"


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_tells_later_what_was_lost() -> None:
    end, begin = os.pipe()
    outlet = Outlet(begin, patience_s=0)
    line = b"x" * 999 + b"\n"
    for _ in range(1000):
        assert outlet.write(line) == len(line)
    kept = os.read(end, 10_000_000)
    assert len(kept) < 1_000_000
    outlet.write(b"again\n")
    note, again = os.read(end, 10_000).splitlines()
    assert note == b"(%d bytes of output were lost here)" % (1_000_000 - len(kept))
    assert again == b"again"
    os.close(begin)
    os.close(end)


@pytest.mark.parametrize("broken", ["full", "closed"])
def test_what_nothing_takes_is_lost_and_no_error(broken: str) -> None:
    if broken == "full":
        fd = os.open("/dev/full", os.O_WRONLY)
    else:
        end, fd = os.pipe()
        os.close(end)
    stream = sturdy(sys.stdout, fd)
    for _ in range(100):
        stream.write("line\n")
    stream.flush()
    os.close(fd)


def test_a_program_that_was_started_without_outputs_has_some() -> None:
    stream = sturdy(None, 1)
    stream.write("line\n")
    stream.close()


def test_a_program_whose_output_was_lost_ends_well() -> None:
    code = (
        "import logging, sys; from ov_server.logs import set_up_logging, sturdy\n"
        "sys.stdout, sys.stderr = sturdy(sys.stdout, 1), sturdy(sys.stderr, 2)\n"
        "set_up_logging('INFO', 'text')\n"
        "log = logging.getLogger('ov_server')\n"
        "for _ in range(1000):\n"
        "    log.info('line')\n"
        "    sys.stdout.write('a\\n')"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=full)
    assert done.returncode == 0
