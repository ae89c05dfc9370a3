"""Whether a device answers as the CPU does: what passes, what does not, and what is kept of it."""

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fakes import PATIENCE_S

from ov_server import cache
from ov_server.cancellation import Cancellation
from ov_server.machine import Machine
from ov_server.maker import Site
from ov_server.selftest import Questions, SelfTest, Unfit, Verdict, agree
from ov_server.stepping import Output, Pipeline, PipelineHung, PipelineLost, Plan

SAMPLES = Path(__file__).parent.parent / "scripts" / "lib" / "samples.py"
PROMPTS = [[1], [2], [3], [4]]
RIGHT = [list(range(10 * n, 10 * n + 16)) for n in range(1, 5)]
"""What the CPU says to each of them."""


class Scripted:
    """A pipeline that gives one token of each answer at a step, and what else it is told to."""

    block = 4
    keeps_prefixes = True

    def __init__(self, device: "Device", answers: list[list[int]]):
        self._device = device
        self._answers = {
            prompt[0]: deque(said) for prompt, said in zip(PROMPTS, answers, strict=True)
        }
        self._who: dict[int, int] = {}
        self.closed = threading.Event()

    def add(self, key: int, prompt: list[int], plan: Plan, max_tokens: int) -> None:
        assert plan.sampling.temperature == 0.0
        assert max_tokens == 16
        self._who[key] = prompt[0]

    def cancel(self, key: int) -> None:
        raise AssertionError("nobody leaves a self-test")

    def busy(self) -> bool:
        return bool(self._who)

    def step(self) -> list[Output]:
        device = self._device
        device.stepping.set()
        if device.hold:
            assert self.closed.wait(PATIENCE_S)
            raise PipelineLost("the worker process ended (exit code -9)")
        if device.error is not None:
            raise device.error
        if device.endless:
            return []
        outputs = []
        for key, who in list(self._who.items()):
            said = self._answers[who]
            tokens = [said.popleft()] if said else []
            finish = None if said else "stop"
            if finish:
                del self._who[key]
            outputs.append(Output(key, tokens, [device.logprob] * len(tokens), finish))
        return outputs

    def kv_usage(self) -> float:
        return 0.0

    def close(self) -> None:
        self.closed.set()


@dataclass
class Device:
    """What a device says, and how."""

    answers: list[list[int]] = field(default_factory=lambda: RIGHT)
    logprob: float = -0.5
    error: Exception | None = None
    endless: bool = False
    hold: bool = False
    """Its steps stand still until the pipeline is closed, and throw then."""
    warning: str | None = None
    stepping: threading.Event = field(default_factory=threading.Event)
    pipelines: list[Scripted] = field(default_factory=list)


@dataclass
class House:
    """Two devices, a cache, and the driver that is installed."""

    cache: Path
    cpu: Device = field(default_factory=Device)
    gpu: Device = field(default_factory=Device)
    driver: str = "driver 1"
    names: dict[str, str] = field(default_factory=lambda: {"CPU": "a processor", "GPU": "UHD 630"})
    version: str = "2026.4"
    cancellation: Cancellation = field(default_factory=Cancellation)
    limit_s: float = 600

    def make(self, device: str, kv_cache_gb: int) -> tuple[Pipeline, Site]:
        others = [p for d in (self.cpu, self.gpu) for p in d.pipelines]
        assert all(other.closed.is_set() for other in others), "two copies of the weights"
        where = self.cpu if device == "CPU" else self.gpu
        where.pipelines.append(Scripted(where, where.answers))
        return where.pipelines[-1], Site(100, 4711, warning=where.warning)

    def test(self, model: str = "stamp", device: str = "GPU") -> SelfTest:
        def never(*_: object) -> Pipeline:
            raise AssertionError("it is made by make()")

        machine = Machine(
            devices=lambda: list(self.names),
            name=lambda name: self.names[name],
            version=self.version,
            driver=lambda: self.driver,
            paged=never,  # ty: ignore[invalid-argument-type]
            serial=never,
        )
        return SelfTest(model, device, machine, self.cache, self.cancellation, self.limit_s)

    def tried(self) -> Site:
        """Where the device's pipeline is, which serves when it has passed."""
        pipeline, site = self.test().tried(self.make, 7, Questions(PROMPTS, str))
        assert pipeline is self.gpu.pipelines[-1]
        assert not self.gpu.pipelines[-1].closed.is_set()
        return site

    def refusal(self) -> str:
        """What is said of a device that has not passed, whose pipeline is gone."""
        with pytest.raises(Unfit) as caught:
            self.tried()
        assert self.gpu.pipelines[-1].closed.is_set()
        return str(caught.value)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "cache")


def parted(at: int, prompts: int) -> list[list[int]]:
    """The right answers, but some of them another one from a token on."""
    return [
        [*right[:at], *(99 + 2 * n for n in range(16 - at))] if number < prompts else right
        for number, right in enumerate(RIGHT)
    ]


# What passes.


def test_a_device_that_says_what_the_cpu_does_serves(house: House) -> None:
    assert house.test().verdict() is None
    assert house.tried() == Site(100, 4711)
    assert house.test().verdict() == Verdict(None)


@pytest.mark.parametrize(("at", "prompts"), [(8, 4), (15, 4), (0, 1), (0, 2), (3, 2)])
def test_rounding_is_no_garbage(house: House, at: int, prompts: int) -> None:
    house.gpu.answers = parted(at, prompts)
    assert house.tried().warning is None


def test_a_short_answer_need_not_be_as_long(house: House) -> None:
    house.cpu.answers = [[5, 2], [5, 6, 7, 2], [2], [8, 2]]
    house.gpu.answers = [[5, 9, 9, 2], [5, 6, 3, 2], [2], [7]]
    assert house.tried().warning is None


def test_a_model_that_repeats_itself_may_do_so_anywhere(house: House) -> None:
    house.cpu.answers = house.gpu.answers = [[7] * 16] * 4
    assert house.tried().warning is None


# What does not.


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([[33] * 16] * 4, id="one token"),
        pytest.param(parted(0, 4), id="other texts"),
        pytest.param(parted(1, 3), id="only the first tokens are right"),
        pytest.param(parted(7, 3), id="too few tokens are right"),
        pytest.param([[]] * 4, id="nothing"),
        pytest.param([right[:9] + [33] * 7 for right in RIGHT], id="it ends in one token"),
        pytest.param([right[:3] for right in RIGHT], id="it ends at once"),
    ],
)
def test_garbage_is_found(house: House, answers: list[list[int]]) -> None:
    house.gpu.answers = answers
    said = house.refusal()
    assert said.startswith('GPU answers otherwise than CPU ("')
    assert "so it runs on CPU; fp16 or int8 may be right there, see docs/GPU_DRIVERS.md" in said
    assert house.test().verdict() == Verdict(said)


def test_both_texts_are_shown_in_harmless_characters(house: House) -> None:
    house.gpu.answers = [[33] * 16] * 4
    text: Callable[[list[int]], str] = lambda t: "Paris is" if t[0] == 10 else "!\x1b[31m" * 9  # noqa: E731
    with pytest.raises(Unfit) as caught:
        house.test().tried(house.make, 7, Questions(PROMPTS, text))
    assert r'("!\u001b[31m!\u001b[31m' in str(caught.value)
    assert ', not "Paris is")' in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("logprob", [float("nan"), float("-inf"), float("inf")])
def test_what_is_no_number_is_garbage_whatever_its_text(house: House, logprob: float) -> None:
    house.gpu.logprob = logprob
    said = house.refusal()
    assert said.startswith("GPU answers with what are no numbers, so it runs on CPU")
    assert house.test().verdict() == Verdict(said)


def test_a_device_that_hangs_is_not_asked_again(house: House) -> None:
    house.gpu.error = PipelineHung("the worker process gave no answer for minutes")
    said = house.refusal()
    assert said.startswith("GPU gives no answer for minutes, so it runs on CPU")
    assert house.test().verdict() == Verdict(said)


def test_a_step_that_never_ends_is_ended(house: House) -> None:
    house.gpu.hold, house.limit_s = True, 0.01
    said = house.refusal()
    assert said.startswith("GPU gives no answer for minutes")
    assert house.test().verdict() == Verdict(said)


def test_an_answer_without_an_end_is_none(house: House) -> None:
    house.gpu.endless = True
    said = house.refusal()
    assert said.startswith("GPU answers without an end")
    assert house.test().verdict() == Verdict(said)


@pytest.mark.parametrize(
    "error", [RuntimeError("CL_OUT_OF_RESOURCES"), PipelineLost("the worker process ended")]
)
def test_what_throws_is_not_used_and_tried_again_at_the_next_load(
    house: House, error: Exception
) -> None:
    house.gpu.error = error
    said = house.refusal()
    assert said.startswith(f"GPU does not answer ({error}), so it runs on CPU")
    assert house.test().verdict() is None
    house.gpu.error = None
    assert house.tried().warning is None


# Without the CPU's word.


def test_without_the_cpus_word_the_device_serves_and_that_is_told(house: House) -> None:
    house.cpu.error, house.gpu.warning = RuntimeError("no memory"), "one at a time"
    told = "CPU, which it is compared with, does not answer (no memory)"
    assert house.tried().warning == f"one at a time; nobody knows if it is right on GPU: {told}"
    assert house.test().verdict() is None


def test_one_token_again_and_again_needs_nobodys_word(house: House) -> None:
    house.cpu.error, house.gpu.answers = RuntimeError("no memory"), [[33] * 16] * 4
    assert house.refusal().startswith("GPU says one token again and again")


# What is kept.


def test_what_was_found_holds_for_these_files_this_device_driver_and_runtime(house: House) -> None:
    house.gpu.answers = [[33] * 16] * 4
    kept = Verdict(house.refusal())
    assert house.test().verdict() == kept
    assert house.test(model="converted again").verdict() is None
    assert house.test(device="GPU.0").verdict() is None
    for other in (
        replace(house, driver="driver 2"),
        replace(house, version="2027.1"),
        replace(house, names={**house.names, "GPU": "Arc B580"}),
    ):
        assert other.test().verdict() is None
    assert house.test().verdict() == kept


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", "{}", '{"warning": 7}', "[" * 100_000, b"\xff\x00"]
)
def test_a_broken_file_is_none(house: House, text: str | bytes) -> None:
    house.tried()
    (file,) = (house.cache / "verdicts").iterdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert house.test().verdict() is None
    house.gpu.pipelines[-1].close()
    house.tried()
    assert house.test().verdict() == Verdict(None)


def test_a_cache_that_cant_be_written_costs_another_test(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.cache.write_text("not a folder")
    house.tried()
    assert house.test().verdict() is None
    assert "the cache folder can't be written" in caplog.text


def test_a_folder_in_its_place_is_no_verdict_either(house: House) -> None:
    house.tried()
    (file,) = (house.cache / "verdicts").iterdir()
    file.unlink()
    file.mkdir()
    assert house.test().verdict() is None
    house.gpu.pipelines[-1].close()
    house.tried()
    assert list(file.parent.iterdir()) == [file]


def test_verdicts_are_pruned_as_all_entries_are(house: House) -> None:
    house.tried()
    (file,) = (house.cache / "verdicts").iterdir()
    assert json.loads(file.read_text()) == {"warning": None}
    cache.prune(house.cache, 1, keep=house.cache / "gguf" / "kept")
    assert house.test().verdict() == Verdict(None)
    cache.prune(house.cache, 0, keep=house.cache / "gguf" / "kept")
    assert house.test().verdict() is None


# Calling it off.


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_load_that_is_called_off_ends_in_the_middle_of_it(house: House, device: str) -> None:
    where: Device = getattr(house, device)
    where.hold = True
    errors: list[Exception] = []

    def load() -> None:
        try:
            house.tried()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    assert where.stepping.wait(PATIENCE_S)
    house.cancellation.call()
    thread.join(PATIENCE_S)
    assert [type(error) for error in errors] == [PipelineLost]
    assert where.pipelines[-1].closed.is_set()
    assert house.test().verdict() is None
    assert len(house.gpu.pipelines) == (device == "gpu")


# The rule.


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ([], [], True),
        ([], [5], False),
        ([5], [], False),
        ([5], [5, 6], True),
        ([5], [6], False),
        ([1, 2, 3, 4], [1, 2, 9, 9], True),
        ([1, 2, 3, 4], [1, 9, 3, 4], False),
        (list(range(16)), [*range(8), 90, 91, 92, 93], True),
        (list(range(16)), [*range(7), 90, 91, 92, 93], False),
        (list(range(16)), [*range(12), 9, 9, 9, 9], False),
        ([*range(8), 9, 9, 9, 9], [*range(8), 7, 7, 7, 7], True),
    ],
)
def test_when_answers_agree(expected: list[int], found: list[int], same: bool) -> None:
    assert agree(expected, found) is same


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("abcdefghijklmnop", "abcdefghxxyyxxyy"),
        ("abcdefghijklmnop", "abcdefgxyxyxyxyx"),
        ("abcdefghijklmnop", "abcdefghijk"),
        ("abcdef", "abcxyz"),
        ("abcdef", "abxyzx"),
        ("abc", "ab"),
        ("abc", "a"),
        ("a", "b"),
    ],
)
def test_the_doctor_judges_alike(expected: str, found: str) -> None:
    """Its rule stands in a script, which has none of the package."""
    said = [json.dumps({"text": t, "tokens": len(t), "seconds": 1.0}) for t in (expected, found)]
    command = [sys.executable, "-I", "-S", SAMPLES, "compare", *said]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert agree([*map(ord, expected)], [*map(ord, found)]) is (done.returncode == 0)
