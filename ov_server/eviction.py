"""Which models leave so that another fits: a pure function of what is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loaded:
    """One model in memory, as far as eviction cares. Sizes are bytes, times the clock's."""

    name: str
    size: int
    used_at: float
    busy: bool = False
    pinned: bool = False
    retired: bool = False
    """Replaced by a newer conversion: it leaves by itself, and does not count as a model."""


@dataclass(frozen=True, slots=True)
class Room:
    """The answer. With `evict` gone the model fits; `wait` asks again when something changed;
    `refusal` says why it never fits."""

    evict: tuple[str, ...] = ()
    wait: bool = False
    refusal: str | None = None


def make_room(size: int, loaded: Sequence[Loaded], *, most: int, memory: float | None) -> Room:
    """How a model of `size` bytes comes in beside `loaded`: at most `most` models, and `memory`
    bytes in all (None is no limit). The least recently used idle ones go first; busy and pinned
    ones never do."""
    kept = [m for m in loaded if m.pinned and not m.retired]
    if len(kept) >= most:
        why = f"every place is taken by a pinned model ({', '.join(m.name for m in kept)})"
        return Room(refusal=f"{why}: {_release(kept)}, or raise OV_MAX_LOADED")
    if memory is not None and size + sum(m.size for m in kept) > memory:
        beside = " beside the pinned models" if kept else ""
        release = f" {_release(kept)}," if kept else ""
        return Room(
            refusal=f"it needs {size / 1e9:.1f} GB{beside}, and OV_MEMORY_LIMIT_GB is "
            f"{memory / 1e9:g}: raise it,{release} or lower the entry's kv_cache_gb"
        )
    leaving: list[str] = []
    stay = list(loaded)
    idle = (m for m in loaded if not m.busy and not m.pinned and not m.retired)
    for victim in sorted(idle, key=lambda m: m.used_at):
        if _fits(size, stay, most, memory):
            break
        stay.remove(victim)
        leaving.append(victim.name)
    if _fits(size, stay, most, memory):
        return Room(evict=tuple(leaving))
    return Room(wait=True)


def _release(pinned: Sequence[Loaded]) -> str:
    """What makes room among pinned models."""
    return f'release one of them (POST /v1/models/{pinned[0].name}/pin with {{"pinned": false}})'


def _fits(size: int, stay: Sequence[Loaded], most: int, memory: float | None) -> bool:
    leaving = sum(m.retired for m in stay)  # one may still work while its successor loads
    models = len(stay) - min(leaving, 1)
    return models < most and (memory is None or size + sum(m.size for m in stay) <= memory)
