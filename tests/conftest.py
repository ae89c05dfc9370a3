"""What every test stands on: asyncio as the loop, and an environment without OV_* variables."""

import os
from collections.abc import Iterator

import pytest
from apps import server, start  # noqa: F401  (fixtures)
from hypothesis import settings

settings.register_profile("shared", deadline=None)  # how long a step takes is the machine's affair
settings.load_profile("shared")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.upper().startswith("OV_"):
                environment.delenv(name)
        yield
