"""What a process meets only once: the runtime's bindings in their first use."""

import subprocess
import sys
from pathlib import Path

from .first_burst import REQUESTS
from .servers import ROOT
from .waiting import BOUND_S


def test_the_first_requests_of_a_process_may_come_all_at_once(converted: Path) -> None:
    command = [sys.executable, "-m", "tests.model.first_burst", str(converted)]
    done = subprocess.run(
        command, cwd=ROOT, timeout=BOUND_S, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(REQUESTS)], done.stderr
