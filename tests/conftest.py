"""What every test stands on: asyncio as the loop, and an environment without OV_* variables."""

import os

import pytest
from hypothesis import settings

settings.register_profile("shared", deadline=None)  # how long a step takes is the machine's affair
settings.load_profile("shared")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("OV_"):
            monkeypatch.delenv(name)
