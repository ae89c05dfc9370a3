"""The bounds of the queues: who comes in, who gives way, and when to come again."""

from dataclasses import dataclass, field

import pytest
from fakes import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from ov_server.core import Priority
from ov_server.errors import QueueFull, ServerError, TooManyAtOnce
from ov_server.places import Place, Places


@dataclass(eq=False)
class Visitor:
    client: str = "a"
    priority: Priority = "interactive"
    most: int | None = None
    begun: bool = False
    refused: list[ServerError] = field(default_factory=list)

    def refuse(self, why: ServerError) -> None:
        self.refused.append(why)


def visitors(clients: str) -> list[Visitor]:
    return [Visitor(client) for client in clients]


def filled(clients: str, **bounds: int) -> tuple[Places, list[Visitor], list[Place]]:
    """All places of model m taken, by clients of one letter each."""
    places = Places(**{"each": len(clients), "every": 100} | bounds, clock=FakeClock())
    guests = visitors(clients)
    return places, guests, [places.enter("m", guest) for guest in guests]


def refused(guests: list[Visitor]) -> list[int]:
    return [index for index, guest in enumerate(guests) if guest.refused]


def test_the_next_request_behind_the_bound_is_refused() -> None:
    places, guests, taken = filled("abc")
    with pytest.raises(QueueFull, match="3 requests"):
        places.enter("m", Visitor("d"))
    places.leave(taken[0])
    places.enter("m", Visitor("d"))
    assert not refused(guests)


def test_another_model_has_places_of_its_own_within_those_of_the_process() -> None:
    places, _, _ = filled("aaa", every=5)
    places.enter("n", Visitor("a"))
    places.enter("n", Visitor("a"))
    with pytest.raises(QueueFull, match="5 requests"):
        places.enter("n", Visitor("a"))


@pytest.mark.parametrize(
    ("taken", "newcomer", "loser"),
    [
        ("aaaa", "b", 3),  # the newest of the client with the most
        ("abaa", "b", 3),
        ("aaba", "b", 3),
        ("aabb", "c", 3),
        ("aaab", "b", 2),
        ("aab", "b", None),  # it would have as many as the other has left
        ("abcd", "e", None),
        ("aaaa", "a", None),
    ],
)
def test_the_client_with_the_most_makes_room(taken: str, newcomer: str, loser: int | None) -> None:
    places, guests, _ = filled(taken)
    if loser is None:
        with pytest.raises(QueueFull):
            places.enter("m", Visitor(newcomer))
    else:
        places.enter("m", Visitor(newcomer))
    assert refused(guests) == ([] if loser is None else [loser])


def test_who_has_begun_stays() -> None:
    places, guests, _ = filled("aaaa")
    for guest in guests[2:]:
        guest.begun = True
    places.enter("m", Visitor("b"))
    assert refused(guests) == [1]
    guests[0].begun = True
    with pytest.raises(QueueFull):
        places.enter("m", Visitor("c"))


def test_the_process_makes_room_across_models() -> None:
    places, guests, _ = filled("aaaa", every=4)
    places.enter("n", Visitor("b"))
    assert refused(guests) == [3]


def test_a_batch_request_gives_way_to_an_interactive_one() -> None:
    places, guests, _ = filled("abca")
    guests[1].priority = "batch"
    places.enter("m", Visitor("a"))
    assert refused(guests) == [1]


def test_an_interactive_request_does_not_give_way_to_a_batch_one() -> None:
    places, guests, _ = filled("aaaa")
    with pytest.raises(QueueFull):
        places.enter("m", Visitor("b", "batch"))
    assert not refused(guests)


def test_batch_requests_share_as_well() -> None:
    places, guests, _ = filled("aaaa")
    guests[0].priority = guests[1].priority = "batch"
    places.enter("m", Visitor("b", "batch"))
    assert refused(guests) == [1]


def test_who_was_refused_leaves_without_freeing_the_place_again() -> None:
    places, _, taken = filled("aaaa")
    places.enter("m", Visitor("b"))
    places.leave(taken[3])
    with pytest.raises(QueueFull):
        places.enter("m", Visitor("a"))


def test_a_client_has_no_more_at_once_than_its_key_allows() -> None:
    places = Places(10, 10, FakeClock())
    first = places.enter("m", Visitor("a", most=2))
    places.enter("n", Visitor("a", most=2))
    with pytest.raises(TooManyAtOnce, match="2"):
        places.enter("m", Visitor("a", most=2))
    places.enter("m", Visitor("b", most=2))
    places.leave(first)
    places.enter("m", Visitor("a", most=2))


# When to come again.


def waits(places: Places) -> int | None:
    with pytest.raises(QueueFull) as refusal:
        places.enter("m", Visitor("z", "batch"))
    return refusal.value.retry_after


def test_who_is_refused_is_told_the_pace_at_which_requests_end() -> None:
    clock = FakeClock()
    places = Places(2, 100, clock)
    taken = [places.enter("m", guest) for guest in visitors("ab")]
    for _ in range(5):
        clock.advance(7)
        places.leave(taken.pop(0))
        taken.append(places.enter("m", Visitor("c")))
    assert [waits(places), waits(places)] == [7, 14], "not all at once"
    clock.advance(7)
    places.leave(taken.pop(0))
    taken.append(places.enter("m", Visitor("c")))
    assert waits(places) == 14
    for _ in range(40):  # only the last ones count
        clock.advance(2)
        places.leave(taken.pop(0))
        taken.append(places.enter("m", Visitor("c")))
    assert waits(places) == 2


def test_where_none_has_ended_yet_the_time_so_far_is_told() -> None:
    clock = FakeClock()
    places = Places(1, 100, clock)
    places.enter("m", Visitor("a"))
    assert waits(places) == 5, "which is a guess"
    clock.advance(20)
    assert waits(places) == 40
    clock.advance(5000)
    assert waits(places) == 600


def test_a_model_without_requests_forgets_its_pace() -> None:
    clock = FakeClock()
    places = Places(1, 100, clock)
    places.leave(places.enter("m", Visitor("a")))
    clock.advance(5000)
    places.enter("m", Visitor("a"))
    clock.advance(30)
    assert waits(places) == 30


def test_one_that_asks_again_and_again_does_not_put_others_off() -> None:
    clock = FakeClock()
    places = Places(2, 100, clock)
    taken = [places.enter("m", guest) for guest in visitors("ab")]
    clock.advance(10)
    places.leave(taken.pop(0))
    places.enter("m", Visitor("c"))
    for _ in range(50):
        with pytest.raises(QueueFull):
            places.enter("m", Visitor("y"))
    assert waits(places) == 20


# Whatever comes.

CALLS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.sampled_from(["interactive", "batch"]), st.sampled_from("mn")
    )
    | st.integers(0, 30),
    max_size=80,
)


@given(CALLS)
def test_the_bounds_hold_and_nobody_is_pushed_out_by_who_has_as_many(calls: list) -> None:
    places = Places(5, 8, FakeClock())
    inside: list[tuple[Visitor, Place]] = []
    for call in calls:
        if isinstance(call, int):
            if inside:
                places.leave(inside.pop(call % len(inside))[1])
            continue
        client, priority, model = call
        guest = Visitor(client, priority)
        here = [g.client for g, p in inside if p.model == model]
        counted = here if len(here) >= 5 else [g.client for g, _ in inside]
        try:
            place = places.enter(model, guest)
        except QueueFull:
            assert counted == here or len(inside) >= 8
            continue
        for other, theirs in [each for each in inside if each[0].refused]:
            inside.remove((other, theirs))
            places.leave(theirs)
            assert len(counted) >= 5
            if other.priority == priority:
                assert counted.count(other.client) >= counted.count(client) + 2
            else:
                assert (other.priority, priority) == ("batch", "interactive")
        inside.append((guest, place))
        assert len(inside) <= 8
        assert max(sum(p.model == m for _, p in inside) for m in "mn") <= 5
