"""`python -m tests.model.first_burst FOLDER`: the first requests of a process, all at once, with
threads that change as often as they can. Prints how many were answered.
"""

import asyncio
import sys
from pathlib import Path

from ov_server.core import ChatRequest, Message, Sampling, collect
from ov_server.engines import load_engine
from ov_server.entries import entry_of
from ov_server.modelfiles import inspect
from ov_server.settings import Settings

REQUESTS = 16


async def burst(folder: Path) -> int:
    entry = entry_of(folder)
    engine = load_engine(entry, inspect(folder), Settings(device="CPU"))
    sampling = Sampling(max_tokens=2, ignore_eos=True)
    request = ChatRequest((Message("user", "Hello"),), sampling)
    sys.setswitchinterval(1e-6)
    answers = await asyncio.gather(*(collect(engine.chat(request)) for _ in range(REQUESTS)))
    engine.close()
    return len([answer for answer in answers if answer.choices[0].finish_reason == "length"])


if __name__ == "__main__":
    print(asyncio.run(burst(Path(sys.argv[1]))))  # noqa: T201
