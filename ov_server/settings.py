"""Every OV_* variable, read once. Owns names, defaults and bounds; of other modules it knows only
how keys, hosts and origins are written."""

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .hosts import read_hosts, read_origins
from .keys import read_keys


def _from_home(value: str | Path) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError("there is no such home folder") from None


DeviceName = Annotated[str, StringConstraints(min_length=1, to_upper=True)]
"""OpenVINO's name of a device; its case does not matter."""

Home = Annotated[Path, BeforeValidator(_from_home)]
"""A path in which a leading ~ is the home folder, also from a systemd environment file."""


def _hosts(value: object) -> object:
    return read_hosts(value) if isinstance(value, str) else value


def _origins(value: object) -> object:
    return read_origins(value) if isinstance(value, str) else value


def _checked(value: SecretStr) -> SecretStr:
    read_keys(value.get_secret_value())
    return value


_SECRET = ("OV_API_KEYS",)
"""Variables whose values nobody gets to see."""


class Settings(BaseSettings):
    """The settings of one process; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix="OV_",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        use_attribute_docstrings=True,
    )

    device: DeviceName = "GPU"
    """OpenVINO device that models run on (GPU, CPU, NPU, AUTO). Where it is not there, CPU."""

    registry_path: Home = Path("~/models/converted_models/registry.json").expanduser()
    """The registry of converted models; it need not exist."""

    model_path: Home | None = None
    """A model (OpenVINO folder or GGUF file) that answers for names that are not registered."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""

    log_format: Literal["text", "json"] = "text"
    """Log lines for people, or one JSON object a line."""

    cache_dir: Home = Path("~/.cache/ov-llm-server").expanduser()
    """Where GGUF files made into OpenVINO models and compiled kernels are kept."""

    cache_gb: float = Field(20, gt=0)
    """Size in GB that the cache folder is pruned to, oldest use first."""

    kv_cache_gb: int = Field(2, ge=1)
    """Whole GB of each loaded model's KV cache; a registry entry's kv_cache_gb overrides it."""

    max_loaded: int = Field(3, ge=1)
    """How many models may be loaded at once."""

    memory_limit_gb: float | None = Field(None, gt=0)
    """Size in GB that weights and KV caches of all loaded models may reach; unset is no limit."""

    idle_unload_s: float = Field(900, ge=0)
    """Seconds without a request after which a model is unloaded; 0 keeps models loaded."""

    max_queue: int = Field(64, ge=1)
    """How many requests may wait for one model; the next one is answered 429."""

    max_requests: int = Field(256, ge=1)
    """How many requests may run or wait in the whole process; the next one is answered 429."""

    max_running: int = Field(32, ge=1, le=256)
    """How many answers one model generates side by side; the others wait."""

    prefill_chunk: int = Field(256, ge=32)
    """Prompt tokens that one step reads when no other answer of the model is streaming."""

    prefill_slice: int = Field(32, ge=16)
    """Prompt tokens that one step reads while other answers are streaming."""

    max_body_mb: int = Field(16, ge=1, le=1024)
    """Size in MB that the body of a request may have; a larger one is answered 413."""

    keep_alive_s: float = Field(5, gt=0, le=10)
    """Seconds of silence in a stream after which a comment line is sent."""

    request_timeout_s: float = Field(600, gt=0)
    """Seconds after which a request that is not answered by then ends with an error."""

    cancel_after_disconnect_s: float = Field(3600, ge=0)
    """Seconds that an answer with a session_id of its client's goes on when nobody reads it."""

    session_ttl_s: float = Field(3600, ge=0)
    """Seconds that an answer's events are kept behind its end, for readers that come back."""

    sessions_mb: float = Field(64, gt=0)
    """Size in MB of all events that are kept in memory."""

    sessions_db: Home | None = None
    """A SQLite file in which answers outlive the server; unset keeps them in memory alone."""

    sessions_db_mb: float = Field(256, gt=0)
    """Size in MB that this file is pruned to, oldest answers first."""

    stop_grace_s: int = Field(20, ge=0)
    """Whole seconds that running answers have to end when the server is told to stop."""

    api_keys: Annotated[SecretStr, AfterValidator(_checked)] | None = None
    """Who may use the server: NAME=KEY between commas, or a file with one a line; unset is all."""

    allowed_hosts: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_hosts)] = None
    """Names and addresses under which clients may call the server; unset is all local ones."""

    cors_origins: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_origins)] = None
    """Origins whose web pages may use the server, between commas; unset is none."""

    confine_models: bool = False
    """Whether the registry may only name models that really lie in OV_MODEL_OUT."""

    model_out: Home = Path("~/models/converted_models").expanduser()
    """Where converted models go; what OV_CONFINE_MODELS keeps the registry to."""

    @property
    def within(self) -> Path | None:
        """The folder that the registry's models have to lie in."""
        return self.model_out if self.confine_models else None


def read_settings() -> Settings:
    """The settings from the environment; SystemExit names the variable when a value is bad."""
    try:
        return Settings()
    except ValidationError as error:
        raise SystemExit(
            "ov-llm-server does not start, because of its settings:\n  "
            + "\n  ".join(bad_values(error).values())
            + "\nMend them in the environment or in ov-server.env; README.md lists every setting."
        ) from None


def bad_values(error: ValidationError) -> dict[str, str]:
    """By the variable's name: its value, unless it is secret, and what is wrong with it."""
    return {
        (name := f"OV_{str(p['loc'][0]).upper()}"): (
            f"{name}: {p['msg']}" if name in _SECRET else f"{name}={p['input']!r}: {p['msg']}"
        )
        for p in error.errors()
    }


def misspelt() -> list[str]:
    """A line for each OV_* variable that is no setting but looks much like one."""
    known = [f"OV_{name.upper()}" for name in Settings.model_fields]
    others = [name for name in os.environ if name.startswith("OV_") and name not in known]
    close = {name: difflib.get_close_matches(name, known, 1, cutoff=0.85) for name in others}
    return [
        f"{name} is no setting and does nothing; is {like[0]} meant?"
        for name, like in close.items()
        if like
    ]
