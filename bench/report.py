"""Figures beside their targets, and RESULTS.md made of them. Measures nothing.

results.json keeps each part's last section, so that one part can be measured again alone.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from .machine import Machine
from .quiet import QUIET

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Goal:
    bound: Literal["at least", "at most"]
    value: float

    def met(self, value: float) -> bool:
        return value >= self.value if self.bound == "at least" else value <= self.value


def at_least(value: float) -> Goal:
    return Goal("at least", value)


def at_most(value: float) -> Goal:
    return Goal("at most", value)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a section's table, as text."""

    what: str
    ours: str
    other: str
    measured: str
    single: str
    target: str
    met: bool | None
    """None where there is no target."""
    others_cpu: float = 0.0
    """The share of the machine that other processes used meanwhile, in the median."""

    @property
    def verdict(self) -> str:
        if self.met is None:
            return ""
        if self.others_cpu > QUIET:
            return "too noisy to tell"
        return "yes" if self.met else "**missed**"


@dataclass(frozen=True, slots=True)
class Section:
    part: str
    title: str
    about: str
    other: str
    """What the server is compared with; empty if with nothing."""
    lines: tuple[Line, ...]
    when: str
    ours: str = "server"
    """What is compared."""


def line(
    what: str,
    samples: Sequence[float],
    unit: str = "",
    goal: Goal | None = None,
    *,
    ours: Sequence[float] = (),
    other: Sequence[float] = (),
    their_unit: str = "",
    others_cpu: Sequence[float] = (),
) -> Line:
    """The samples' median beside its goal; `ours` and `other` are what the samples came from.
    `others_cpu` is what other processes used of the machine during each, where it matters."""
    middle = median(samples)
    return Line(
        what,
        _shown(ours, their_unit),
        _shown(other, their_unit),
        _number(middle, unit),
        ", ".join(_number(sample) for sample in sorted(samples)),
        f"{goal.bound} {_number(goal.value, unit)}" if goal else "",
        goal.met(middle) if goal else None,
        median(others_cpu) if others_cpu else 0.0,
    )


def _shown(samples: Sequence[float], unit: str) -> str:
    return _number(median(samples), unit) if samples else ""


def _number(value: float, unit: str = "") -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def write(machine: Machine, section: Section) -> None:
    """Puts the section into results.json and RESULTS.md. Sections that were measured on another
    machine or with other versions are dropped: the page describes one."""
    store = FOLDER / "results.json"
    kept: dict[str, Section] = {}
    if store.exists():
        said = json.loads(store.read_text("utf-8"))
        if said["machine"] == asdict(machine):
            kept = {s["part"]: _section(s) for s in said["sections"]}
    kept[section.part] = section
    saved = {"machine": asdict(machine), "sections": [asdict(s) for s in kept.values()]}
    store.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (FOLDER / "RESULTS.md").write_text(page(machine, list(kept.values())), "utf-8")


def _section(said: dict[str, Any]) -> Section:
    return Section(lines=tuple(Line(**row) for row in said.pop("lines")), **said)


def page(machine: Machine, sections: Sequence[Section]) -> str:
    parts = [_head(machine), _summary(sections), *(_chapter(s) for s in sections)]
    return "\n\n".join(parts) + "\n"


def _head(machine: Machine) -> str:
    return (
        "# What was measured\n\n"
        "`make bench` writes this page; `python -m bench PART` measures one part again. "
        "Figures are medians; ratios are of one run, in which the two sides took turns with the "
        "same texts, and the median is that of the single pairs' ratios. A line during which other "
        f"processes used more than {QUIET:.0%} of the machine's CPU time gets no verdict.\n\n"
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB; {machine.system}, "
        f"Python {machine.python}; openvino-genai {machine.openvino_genai}, "
        f"xllamacpp {machine.xllamacpp}. Model: SmolLM2-135M-Instruct as embedded (GGUF, Q4_1)."
    )


def _summary(sections: Sequence[Section]) -> str:
    judged = [(s, row) for s in sections for row in s.lines if row.verdict]
    missed = [
        f"- {s.title}; {row.what}: **{row.measured}**, should be {row.target}"
        for s, row in judged
        if row.verdict == "**missed**"
    ]
    met = sum(row.verdict == "yes" for _, row in judged)
    noisy = len(judged) - met - len(missed)
    said = f"Of {len(judged)} targets {met} are met, {len(missed)} are missed"
    said += f", and {noisy} can't be judged, since other processes used the machine." * bool(noisy)
    if not missed:
        return said.rstrip(".") + "."
    return "\n".join([said.rstrip(".") + ". Missed:\n", *missed])


def _chapter(section: Section) -> str:
    compared = bool(section.other)
    sides = [section.ours, section.other, "ratio or difference"]
    head = ["", *sides] if compared else ["", "measured"]
    head += ["single measurements", "CPU of others", "target", "met"]
    rows = [_row(row, compared) for row in section.lines]
    table = [_cells(head), _cells(["---"] * len(head)), *(_cells(row) for row in rows)]
    parts = [f"## {section.title}", section.about, "\n".join(table), f"Measured {section.when}."]
    return "\n\n".join(parts)


def _row(row: Line, compared: bool) -> list[str]:
    sides = [row.ours, row.other] if compared else []
    noise = f"{row.others_cpu:.0%}"
    return [row.what, *sides, row.measured, row.single, noise, row.target, row.verdict]


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
