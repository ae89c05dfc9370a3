"""Stop strings end a text at the same place, however it is cut into pieces."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from ov_server.markup import StopStrings

LETTERS = st.text("ab ", max_size=30)
STOPS = st.text("ab ", min_size=1, max_size=5)


def fed(stops: tuple[str, ...], pieces: list[str]) -> tuple[str, bool]:
    """All that is shown, and whether it was stopped."""
    machine, shown = StopStrings(stops), ""
    for piece in pieces:
        text, stopped = machine.feed(piece)
        shown += text
        if stopped:
            return shown, True
    return shown + machine.flush(), False


def cut(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(c % (len(text) + 1) for c in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 30), max_size=30)


@given(LETTERS, STOPS, CUTS)
def test_any_cutting_stops_where_find_finds_it(text: str, stop: str, cuts: list[int]) -> None:
    at = text.find(stop)
    expected = (text[:at], True) if at >= 0 else (text, False)
    assert fed((stop,), cut(text, cuts)) == expected


@given(LETTERS, st.lists(STOPS, min_size=2, max_size=4), CUTS)
@example("abab", ["aba", "b"], [1, 2, 3])
def test_any_cutting_is_the_same_with_several_stops(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    assert fed(tuple(stops), cut(text, cuts)) == fed(tuple(stops), [text])


@given(LETTERS, STOPS, CUTS)
def test_nothing_is_held_back_that_can_not_be_a_stop(text: str, stop: str, cuts: list[int]) -> None:
    machine, seen, shown = StopStrings((stop,)), "", ""
    for piece in cut(text, cuts):
        seen += piece
        said, stopped = machine.feed(piece)
        if stopped:
            return
        shown += said
        held = seen.removeprefix(shown)
        assert stop.startswith(held)
        assert len(held) < len(stop)


def test_without_stops_all_is_shown_at_once() -> None:
    assert StopStrings(()).feed("text") == ("text", False)


def test_the_earliest_of_several_stops_counts() -> None:
    assert fed(("two", "one"), ["zero one two"]) == ("zero ", True)


def test_the_beginning_of_a_stop_is_held_back_until_it_is_known() -> None:
    machine = StopStrings(("</end>",))
    assert machine.feed("text </e") == ("text ", False)
    assert machine.feed("x") == ("</ex", False)
    assert machine.feed("</end") == ("", False)
    assert machine.flush() == "</end"
    assert machine.flush() == ""
