"""Calling off what another thread waits for."""

import threading

from ov_server.cancellation import Cancellation


def test_what_is_waited_for_is_ended_also_when_it_begins_later() -> None:
    cancellation, ended = Cancellation(), threading.Event()
    with cancellation.ending(ended.set):
        cancellation.call()
        assert ended.is_set()
    assert cancellation.called
    later = threading.Event()
    with cancellation.ending(later.set):
        assert later.is_set()


def test_what_is_no_longer_waited_for_is_left_alone() -> None:
    cancellation, ended = Cancellation(), threading.Event()
    with cancellation.ending(ended.set):
        pass
    cancellation.call()
    assert not ended.is_set()
