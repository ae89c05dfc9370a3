"""Part `chaos`: what `make test-chaos` tried, and what it cost."""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from .machine import moment
from .quiet import Patience
from .report import Line, Section, at_most, line
from .subjects import ROOT


def chaos(patience: Patience) -> Section:
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/chaos", "--full", f"--junitxml={report}"]
        subprocess.run([*command, "-q"], cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    lost = [case for case in cases if case.find("failure") or case.find("error")]
    faults = [case for case in cases if not re.search("fuzz|load", case.get("classname", ""))]
    return Section(
        "chaos",
        "Overload, faults and nonsense",
        "`make test-chaos`: many clients at once, faults that are made to happen, and made-up "
        "input. Lost is a test that fails: an answer that is none, a stream that is cut off, a "
        "traceback, a hang, or what is left behind.",
        "",
        (
            *(found for case in cases for found in _tried(case)),
            line("faults and searches for leaks", [len(faults)]),
            line("lost", [len(lost)], goal=at_most(0)),
        ),
        moment(),
    )


def _tried(case: ElementTree.Element) -> list[Line]:
    """What a test recorded: a name, and a text that begins with a number."""
    said = [(p.get("name", ""), p.get("value", "")) for p in case.iter("property")]
    counts = [(name, re.match(r"\d+", value)) for name, value in said]
    return [line(name.split(",")[0], [float(n[0])]) for name, n in counts if n]
