"""Who leaves so that another fits."""

from hypothesis import given
from hypothesis import strategies as st

from ov_server.eviction import Loaded, Room, make_room

MODELS = st.lists(
    st.builds(
        Loaded,
        name=st.uuids().map(str),
        size=st.integers(0, 10),
        used_at=st.floats(0, 100),
        busy=st.booleans(),
        pinned=st.booleans(),
        retired=st.booleans(),
    ),
    max_size=8,
)
SIZES = st.integers(0, 12)
MOST = st.integers(1, 6)
MEMORY = st.none() | st.integers(0, 40)


def fits(size: int, stay: list[Loaded], most: int, memory: float | None) -> bool:
    leaving = [m for m in stay if m.retired]
    counted = len(stay) - len(leaving[:1])
    return counted < most and (memory is None or size + sum(m.size for m in stay) <= memory)


def test_room_that_is_there_costs_nobody() -> None:
    assert make_room(5, [Loaded("a", 5, 1)], most=2, memory=10) == Room()


def test_the_least_recently_used_goes_first_and_no_more_than_needed() -> None:
    loaded = [Loaded("a", 5, 3), Loaded("b", 5, 1), Loaded("c", 5, 2)]
    assert make_room(5, loaded, most=3, memory=None) == Room(evict=("b",))
    assert make_room(10, loaded, most=9, memory=15) == Room(evict=("b", "c"))


def test_a_busy_model_is_waited_for_and_nobody_else_goes_meanwhile() -> None:
    loaded = [Loaded("a", 5, 1), Loaded("b", 5, 2, busy=True)]
    assert make_room(10, loaded, most=9, memory=10) == Room(wait=True)


def test_a_replaced_model_counts_by_its_memory_only() -> None:
    leaving = Loaded("a", 5, 1, busy=True, retired=True)
    assert make_room(5, [leaving], most=1, memory=10) == Room()
    assert make_room(6, [leaving], most=1, memory=10) == Room(wait=True)


def test_of_several_that_leave_only_one_is_not_counted() -> None:
    leaving = [Loaded(f"a{n}", 5, n, busy=True, retired=True) for n in range(3)]
    assert make_room(5, leaving[:2], most=2, memory=None) == Room()
    assert make_room(5, leaving, most=2, memory=None) == Room(wait=True)


def test_pinned_models_in_every_place_refuse() -> None:
    room = make_room(1, [Loaded("a", 5, 1, pinned=True)], most=1, memory=None)
    assert room.refusal
    assert "OV_MAX_LOADED" in room.refusal
    assert 'POST /v1/models/a/pin with {"pinned": false}' in room.refusal


def test_what_can_never_fit_is_refused_and_says_what_it_needs() -> None:
    pinned = [Loaded("p", 3_000_000_000, 1, pinned=True)]
    alone = make_room(9_000_000_000, [], most=1, memory=8e9)
    beside = make_room(6_000_000_000, pinned, most=2, memory=8e9)
    assert alone.refusal
    assert alone.refusal.startswith("it needs 9.0 GB, and OV_MEMORY_LIMIT_GB is 8: raise it")
    assert beside.refusal
    assert "beside the pinned models" in beside.refusal
    assert "/v1/models/p/pin" in beside.refusal
    assert "/pin" not in alone.refusal


@given(SIZES, MODELS, MOST, MEMORY)
def test_busy_pinned_and_leaving_models_are_never_evicted(
    size: int, loaded: list[Loaded], most: int, memory: int | None
) -> None:
    kept = {m.name for m in loaded if m.busy or m.pinned or m.retired}
    assert not kept & set(make_room(size, loaded, most=most, memory=memory).evict)


@given(SIZES, MODELS, MOST, MEMORY)
def test_with_the_evicted_gone_it_fits_and_with_one_of_them_less_it_does_not(
    size: int, loaded: list[Loaded], most: int, memory: int | None
) -> None:
    room = make_room(size, loaded, most=most, memory=memory)
    if room.wait or room.refusal:
        return
    stay = [m for m in loaded if m.name not in room.evict]
    assert fits(size, stay, most, memory)
    if room.evict:
        last = next(m for m in loaded if m.name == room.evict[-1])
        assert not fits(size, [*stay, last], most, memory)


@given(SIZES, MODELS, MOST, MEMORY)
def test_nobody_stays_who_was_used_before_one_that_goes(
    size: int, loaded: list[Loaded], most: int, memory: int | None
) -> None:
    room = make_room(size, loaded, most=most, memory=memory)
    gone = [m for m in loaded if m.name in room.evict]
    stay = [m for m in loaded if m not in gone and not (m.busy or m.pinned or m.retired)]
    assert all(a.used_at <= b.used_at for a in gone for b in stay)


@given(SIZES, MODELS, MOST, MEMORY)
def test_a_refusal_is_for_what_no_waiting_changes(
    size: int, loaded: list[Loaded], most: int, memory: int | None
) -> None:
    room = make_room(size, loaded, most=most, memory=memory)
    for_ever = [m for m in loaded if m.pinned and not m.retired]
    assert bool(room.refusal) == (not fits(size, for_ever, most, memory))


@given(SIZES, MODELS, MOST, MEMORY)
def test_waiting_is_for_what_waiting_changes(
    size: int, loaded: list[Loaded], most: int, memory: int | None
) -> None:
    if make_room(size, loaded, most=most, memory=memory).wait:
        assert any(m.busy or m.retired for m in loaded)
        idle = [Loaded(m.name, m.size, m.used_at, pinned=m.pinned) for m in loaded if not m.retired]
        assert not make_room(size, idle, most=most, memory=memory).wait
