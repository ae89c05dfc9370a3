"""Which job broke a step: found by elimination, from who has had a token since it joined. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import endings
from .jobs import Job


class Failure(NamedTuple):
    """Of a step. `lost`: with its process, which tells nothing of why."""

    reason: str
    lost: bool


def on_trial(jobs: Iterable[Job]) -> bool:
    """Whether somebody is suspected of a failed step: then one unproven job joins at a time."""
    return any(job.suspect for job in jobs)


def convict(running: Sequence[Job], failure: Failure) -> None:
    """Ends the one that broke the step, or makes suspects of those that may have.

    They come back one at a time, when all others have had a token, so that the next failure names
    the guilty one. A process that was lost may have been ended from outside: nobody is guilty of
    the first time.
    """
    unproven = [job for job in running if not job.proven]
    suspects = [job for job in unproven if job.unknown] or unproven or running
    if len(suspects) == 1 and (suspects[0].suspect or not failure.lost):
        suspects[0].fail(endings.guilty(failure.reason))
    else:
        for job in suspects:
            job.suspect = True
