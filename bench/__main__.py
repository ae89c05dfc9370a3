"""`python -m bench [PART ...]`: measures the parts named, or all, and writes bench/RESULTS.md."""

import argparse
import signal
import sys
import time

from . import chaos, crowd, durable, footprint, formats, latency, structured, throughput
from .machine import this_machine
from .quiet import Patience
from .report import FOLDER, write

PARTS = {
    "throughput": throughput.throughput,
    "peer": throughput.peer,
    "arrivals": latency.arrivals,
    "fairness": latency.fairness,
    "crowd": crowd.crowd,
    "chaos": chaos.chaos,
    "idle": footprint.idle,
    "start": footprint.start,
    "formats": formats.formats,
    "structured": structured.structured,
    "suite": structured.suite,
    "sessions": durable.sessions,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help="default: all of them")
    parser.add_argument(
        "--patience",
        type=float,
        default=40,
        help="seconds that each part may wait for other processes to calm down (%(default)s)",
    )
    arguments = parser.parse_args()
    asked = arguments.part or list(PARTS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # the subjects end with it
    machine = this_machine()
    for part in asked:
        print(f"{part} ...", flush=True)
        started = time.monotonic()
        write(machine, PARTS[part](Patience(arguments.patience)))
        print(f"{part}: {time.monotonic() - started:.0f} s", flush=True)
    print(f"Written: {(FOLDER / 'RESULTS.md').relative_to(FOLDER.parent)}")


if __name__ == "__main__":
    main()
