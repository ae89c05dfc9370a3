"""The bare pipeline in a process of its own: no HTTP, no text, no thread but its loop's.

A line of JSON in is a load, a line out is its run. Templates and token ids are made before the
clock starts, and answers stay token ids. The settings are the runtime's defaults but for prefix
caching and the cache's size, which are the server's.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import openvino_genai as genai

from ov_server.conversion import openvino_folder
from ov_server.modelfiles import embedded_model, inspect
from ov_server.settings import Settings

from .loads import Answer, Ask, Load, Run


@dataclass(slots=True)
class _Request:
    ids: Any
    config: genai.GenerationConfig
    handle: Any = None
    sent_at: float = 0.0
    token_at: list[float] = field(default_factory=list)

    def read(self, now: float) -> None:
        while self.handle.can_read():
            for part in self.handle.read().values():
                self.token_at += [now] * len(part.generated_ids)

    def answer(self) -> Answer:
        at = self.token_at
        return Answer(self.sent_at, tuple(at), at[-1], self.ids.shape[1], len(at))


class Bare:
    def __init__(self, folder: Path, kv_cache_gb: int):
        config = genai.SchedulerConfig()
        config.enable_prefix_caching = True
        config.cache_size = kv_cache_gb
        self._tokenizer = genai.Tokenizer(folder)
        self._pipeline = genai.ContinuousBatchingPipeline(folder, self._tokenizer, config, "CPU")
        self._keys = 0

    def run(self, load: Load) -> Run:
        self._work(self._requests(load.before), [], 0)
        first, then = self._requests(load.first), self._requests(load.then)
        self._work(first, then, load.lead)
        return Run.of(load, [request.answer() for request in first + then])

    def _requests(self, asks: tuple[Ask, ...]) -> list[_Request]:
        return [self._request(ask) for ask in asks]

    def _request(self, ask: Ask) -> _Request:
        prompt = self._tokenizer.apply_chat_template(ask.messages, add_generation_prompt=True)
        ids = self._tokenizer.encode(prompt, add_special_tokens=False).input_ids
        config = genai.GenerationConfig()
        config.max_new_tokens = ask.tokens
        config.ignore_eos = True
        return _Request(ids, config)

    def _work(self, first: list[_Request], then: list[_Request], lead: int) -> None:
        self._add(first)
        running, waiting = list(first), list(then)
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            now = time.perf_counter()
            for request in running:
                request.read(now)
            if waiting and all(len(request.token_at) >= lead for request in first):
                self._add(waiting)
                running += waiting
                waiting = []

    def _add(self, requests: list[_Request]) -> None:
        for request in requests:
            self._keys += 1
            request.sent_at = time.perf_counter()
            request.handle = self._pipeline.add_request(self._keys, request.ids, request.config)


def main() -> None:
    settings = Settings(device="CPU")
    path = embedded_model()
    if path is None:
        raise SystemExit("The embedded model is not installed: run make bench.")
    bare = Bare(openvino_folder(inspect(path), settings.cache_dir), settings.kv_cache_gb)
    print("ready", flush=True)
    for line in sys.stdin:
        said = json.loads(line)
        load = Load(
            *(tuple(Ask(**ask) for ask in said[name]) for name in ("first", "then")),
            lead=said["lead"],
            before=tuple(Ask(**ask) for ask in said["before"]),
        )
        print(json.dumps(asdict(bare.run(load))), flush=True)


if __name__ == "__main__":
    main()
