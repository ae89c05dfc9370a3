"""Part `formats`: the embedded model's weights as converted, against their GGUF file."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ov_server.modelfiles import EMBEDDED_NAME, embedded_model

from . import loads, subjects
from .loads import Load, Run
from .machine import moment
from .pairs import Figure, Pair, ratios
from .quiet import Patience, mark
from .report import Line, Section, line

FORMATS = ("fp16", "int8", "int4")
_EXPORTS = subjects.ROOT / ".cache"
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Question:
    """What every model of a server is asked, one after the other."""

    name: str
    load: Callable[[str], Load]
    figure: Figure
    unit: str


def _warm(seed: str, streams: int) -> Load:
    """Others are asked before, so that what a pipeline does but once is not measured."""
    return replace(loads.short(seed, streams), before=loads.short(f"{seed} before", streams).first)


_QUESTIONS = (
    Question(
        "not loaded, to the first token",
        lambda seed: Load((replace(loads.short(seed, 1).first[0], tokens=1),)),
        lambda run: run.first[0].first_token_s,
        "s",
    ),
    *(
        Question(
            f"{streams} {'stream' if streams == 1 else 'streams'}",
            lambda seed, streams=streams: _warm(seed, streams),
            lambda run: run.tokens_per_s,
            "tokens/s",
        )
        for streams in (1, 8)
    ),
)


@dataclass(frozen=True, slots=True)
class Measured:
    run: Run
    others_cpu: float


Round = Mapping[tuple[str, str], Measured]
"""By the question's name and the model's."""


def formats(patience: Patience) -> Section:
    paths = _paths()
    with TemporaryDirectory() as folder:
        registry = Path(folder) / "registry.json"
        entries = {name: {"path": str(path)} for name, path in paths.items()}
        registry.write_text(json.dumps({"version": 1, "models": entries}), "utf-8")
        _round(registry, list(paths), "warm up")  # the GGUF file is made into OpenVINO's format
        rounds: list[Round] = []
        for number in range(_ROUNDS):
            patience.wait()
            turn = number % len(paths)
            names = [*paths][turn:] + [*paths][:turn]
            rounds.append(_round(registry, names, f"formats {number}"))
    return Section(
        "formats",
        "Formats",
        "The weights of the embedded GGUF file as float16, exported as ov-convert-model does it, "
        "against that file, which the server makes into 4 bits in groups of 32. In each round a "
        "server of its own loads all of them, one after the other, and then asks them in turns: "
        "short prompts, 64 tokens each, greedy. Sizes are those of the folders and of the file.",
        "GGUF file",
        tuple(_lines(paths, rounds)),
        moment(),
        ours="converted",
    )


def _paths() -> dict[str, Path]:
    """Of each model by its name. SystemExit where one is not made yet."""
    gguf = embedded_model()
    exports = {name: _EXPORTS / f"{_downloaded(gguf)}-{name}" for name in FORMATS}
    if gguf is None or not all(path.exists() for path in exports.values()):
        raise SystemExit("The formats are not exported: run make bench.")
    return {EMBEDDED_NAME: gguf, **exports}


def _downloaded(gguf: Path | None) -> str:
    return gguf.name.split(".")[0] if gguf else ""


def _round(registry: Path, names: list[str], seed: str) -> Round:
    measured: dict[tuple[str, str], Measured] = {}
    settings = {"OV_REGISTRY_PATH": registry, "OV_MAX_LOADED": len(names)}
    with subjects.server(**settings) as server:
        models = {name: replace(server, model=name) for name in names}
        for question in _QUESTIONS:
            for name, model in models.items():
                before = mark()
                run = model.run(question.load(f"{question.name} {seed}"))
                measured[question.name, name] = Measured(run, before.others())
    return measured


def _lines(paths: Mapping[str, Path], rounds: list[Round]) -> Iterator[Line]:
    for name in FORMATS:
        ours, other = _megabytes(paths[name]), _megabytes(paths[EMBEDDED_NAME])
        what = f"{name}: size"
        yield line(what, [ours / other], ours=[ours], other=[other], their_unit="MB")
        for question in _QUESTIONS:
            pairs = [_pair(r[question.name, name], r[question.name, EMBEDDED_NAME]) for r in rounds]
            yield ratios(f"{name}: {question.name}", pairs, question.figure, question.unit)


def _pair(ours: Measured, other: Measured) -> Pair:
    return Pair(ours.run, other.run, max(ours.others_cpu, other.others_cpu))


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6
