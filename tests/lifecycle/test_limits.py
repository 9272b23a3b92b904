"""When a promotion is taken back by itself, and to what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.learn.options import Action, Decision
from aalearn.lifecycle.limits import Back, Cause, Guard, Limits, Past, Promoted, Rate, Trip, promoted_of, way_back
from tests.lifecycle.watching import NAME, SOCKET, T0, access, denial, reading, weigher

LIMITS = Limits(denials=3, seconds=10, probation=100, unit_seconds=30)
FIRST = Promoted(NAME, 2, T0)
FOUND = Promoted(NAME, 2, T0, found=True)
SECOND = Promoted(NAME, 2, T0, previous=1)


def trip(cause: Cause) -> Trip:
    return Trip(cause, "why", T0)


@pytest.mark.parametrize(
    ("promoted", "cause", "back_to", "after", "helps", "back"),
    [
        (SECOND, Cause.RATE, "previous", 1, None, Back.PREVIOUS),
        (SECOND, Cause.TIER, "previous", 1, None, Back.PREVIOUS),
        (SECOND, Cause.UNIT, "previous", 1, True, Back.PREVIOUS),
        (SECOND, Cause.UNIT, "previous", 1, False, Back.NOWHERE),  # the one before would deny it too
        (SECOND, Cause.RATE, "complain", 1, None, Back.COMPLAIN),
        (SECOND, Cause.TIER, "complain", 1, None, Back.PREVIOUS),  # tier 1 never opens complain mode
        (FIRST, Cause.RATE, "previous", 1, None, Back.COMPLAIN),
        (FIRST, Cause.UNIT, "previous", 1, None, Back.COMPLAIN),
        (FIRST, Cause.TIER, "previous", 1, None, Back.NOWHERE),
        (FOUND, Cause.RATE, "previous", 1, None, Back.FOUND),  # it was enforced without aalearn: never complain mode
        (FOUND, Cause.UNIT, "complain", 1, None, Back.FOUND),
        (FOUND, Cause.TIER, "previous", 1, None, Back.FOUND),
        (FOUND, Cause.RATE, "previous", 101, None, Back.NOWHERE),
        (FIRST, Cause.TIER, "complain", 1, None, Back.NOWHERE),
        (FIRST, Cause.RATE, "complain", 101, None, Back.NOWHERE),  # the probation is over
        (SECOND, Cause.RATE, "previous", 101, None, Back.NOWHERE),
        (Promoted(NAME, 1, T0, final=True), Cause.RATE, "previous", 1, None, Back.NOWHERE),
    ],
)
def test_where_it_goes_back_to(
    promoted: Promoted, cause: Cause, back_to: str, after: int, helps: bool | None, back: Back
) -> None:
    limits = Limits(3, 10, 100, 30, back_to)  # type: ignore[arg-type]
    way = way_back(trip(cause), promoted, limits, T0 + after * 1000, helps)
    assert way.back is back
    assert way.why
    assert way.revision == {Back.PREVIOUS: 1, Back.FOUND: 0}.get(back, promoted.revision)


@given(st.sampled_from(Cause), st.booleans(), st.integers(0, 10**9), st.sampled_from(["previous", "complain"]))
def test_an_attacker_gains_nothing_after_the_probation(cause: Cause, before: bool, late: int, back_to: str) -> None:
    limits = Limits(3, 10, 100, 30, back_to)  # type: ignore[arg-type]
    way = way_back(trip(cause), SECOND if before else FIRST, limits, T0 + 100_001 + late)
    assert way.back is Back.NOWHERE


def test_the_rate_counts_within_the_window_only() -> None:
    guard = Guard(FIRST, LIMITS)
    assert [guard.see(denial(reading(f"/{at}"), T0 + at * 6000)) for at in range(8)] == [None] * 8
    guard = Guard(FIRST, LIMITS)
    assert guard.see(denial(reading("/a"), T0)) is None
    assert guard.see(denial(reading("/b"), T0 + 4000)) is None
    found = guard.see(denial(reading("/c"), T0 + 8000))
    assert found is not None
    assert (found.cause, found.when) == (Cause.RATE, T0 + 8000)
    assert "3 denials within 10 s" in found.why
    assert guard.see(denial(reading("/d"), T0 + 8500)) is None, "it trips once"


def test_tier_one_trips_at_once_and_counts_for_nothing_else() -> None:
    guard = Guard(FIRST, LIMITS)
    found = guard.see(denial(SOCKET, count=50))
    assert found is not None
    assert found.cause is Cause.TIER
    assert guard.last_denial == 0
    assert guard.unit_failed("nginx.service", "failed", T0 + 1000) is None


def test_forged_records_and_refused_rules_count_for_nothing() -> None:
    guard = Guard(FIRST, LIMITS)
    assert guard.see(denial(SOCKET, trusted=False)) is None
    assert guard.see(denial(reading("/x"), count=100, trusted=False)) is None
    refused = weigher(Decision("/run/docker.sock rw,", Action.DENY, "anna"))
    assert guard.see(refused.denial(access(SOCKET))) is None
    assert guard.see(denial(reading("/x"), T0 - 1000, count=100)) is None, "before the promotion"


def test_a_unit_counts_after_a_denial_only() -> None:
    guard = Guard(FIRST, LIMITS)
    assert guard.unit_failed("nginx.service", "failed", T0) is None
    assert not guard.watches_unit(T0)
    guard.see(denial(reading("/x"), T0))
    assert guard.watches_unit(T0 + 30_000)
    assert not guard.watches_unit(T0 + 30_001)
    assert guard.unit_failed("nginx.service", "failed", T0 + 30_001) is None
    found = guard.unit_failed("nginx.service", "exit-code\x1b", T0 + 2_000)
    assert found is not None
    assert found.why == "the unit nginx.service failed (exit-code\\x1b) within 2 s after a denial"


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 30), st.integers(1, 5)), max_size=30))
def test_the_rate_never_exceeds_what_was_counted_nor_misses_a_burst(rows: list[tuple[int, int, int]]) -> None:
    rate = Rate(10.0)
    total, most = 0, 0.0
    for first, length, count in rows:
        total += count
        found = rate.see(T0 + first * 1000, T0 + (first + length) * 1000, count)
        most = max(most, found)
        assert found <= total + 1e-6
        if length < 10:  # whatever came before, one window holds all of it
            assert found >= count - 1e-6
    assert len(rate._parts) <= 11


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 9), st.integers(1, 5)), max_size=30), st.integers(1, 10**6)
)
def test_a_clock_set_back_hides_no_burst(rows: list[tuple[int, int, int]], back: int) -> None:
    rate = Rate(10.0)
    for first, length, count in rows:
        rate.see(T0 + first * 1000, T0 + (first + length) * 1000, count)
    now = T0 - back * 1000
    rate.clock(now)
    found = [rate.see(now + at * 1000, now + at * 1000, 1) for at in range(8)]
    assert found[-1] >= 8 - 1e-6
    assert found[0] <= sum(row[2] for row in rows) + 1 + 1e-6
    rate.see(now + 30_000, now + 30_000, 1)
    assert rate.see(now + 31_000, now + 31_000, 1) == 2, "what was counted by the old time is over soon too"


def test_a_guard_follows_the_clock() -> None:
    guard = Guard(FIRST, LIMITS)
    guard.see(denial(reading("/a"), T0 + 60_000))
    guard.clock(T0 - 300_000)
    assert guard.since == guard.last_denial == T0 - 300_000
    assert not guard.watches_unit(T0 - 260_000), "not for five minutes more"
    for at in range(3):
        found = guard.see(denial(reading(f"/{at}"), T0 - 100_000 + at))
    assert found is not None


def test_a_guard_that_begins_anew_counts_anew() -> None:
    guard = Guard(FIRST, LIMITS)
    assert guard.see(denial(reading("/a"), count=3)) is not None
    guard.begin_anew()
    assert guard.see(denial(reading("/b"), count=2)) is None
    assert guard.see(denial(reading("/c"), T0 + 1)) is not None


def steps(*rows: tuple[str, int] | tuple[str, int, dict[str, object]]) -> tuple[Past, ...]:
    return tuple(Past(row[0], row[1], T0 + at, row[2] if len(row) > 2 else {}) for at, row in enumerate(rows))


@pytest.mark.parametrize(
    ("taken", "promoted"),
    [
        ((), None),
        ((("learning", 0), ("ready", 1)), None),
        ((("ready", 1), ("enforced", 1)), Promoted(NAME, 1, T0 + 1)),
        ((("canary", 1, {"unit": "n.service"}),), Promoted(NAME, 1, T0, unit="n.service", canary=True)),
        ((("ready", 1), ("enforced", 1, {"since": T0 - 500})), Promoted(NAME, 1, T0 - 500)),  # when the load began
        ((("ready", 1), ("enforced", 1, {"since": T0 + 500})), Promoted(NAME, 1, T0 + 1)),
        ((("enforced", 1), ("enforced", 1)), Promoted(NAME, 1, T0)),  # told again: the probation goes on
        ((("canary", 1), ("enforced", 1)), Promoted(NAME, 1, T0 + 1)),
        # a promotion that a person typed again begins a new probation; told again, by promote or reconcile, it goes on
        (
            (("enforced", 1, {"since": T0 - 9}), ("ready", 1), ("enforced", 1, {"since": T0 + 2})),
            Promoted(NAME, 1, T0 + 2),
        ),
        ((("enforced", 1, {"since": T0 - 9}), ("enforced", 1, {"since": T0 - 9})), Promoted(NAME, 1, T0 - 9)),
        ((("enforced", 1, {"since": T0 - 9}), ("enforced", 1)), Promoted(NAME, 1, T0 - 9)),
        (
            (("enforced", 1, {"since": T0 - 9}), ("ready", 1), ("enforced", 1, {"since": T0 - 9})),  # by reconcile
            Promoted(NAME, 1, T0 - 9),
        ),
        ((("enforced", 1), ("ready", 2)), None),
        ((("enforced", 1), ("ready", 2), ("enforced", 2)), Promoted(NAME, 2, T0 + 2, previous=1)),
        ((("enforced", 1), ("reverted", 1, {"mode": "complain"})), None),
        # what was taken back is nothing to go back to
        ((("enforced", 1), ("reverted", 1, {"mode": "complain"}), ("enforced", 2)), Promoted(NAME, 2, T0 + 2)),
        (
            (("enforced", 1), ("enforced", 2), ("reverted", 1, {"mode": "enforce"})),
            Promoted(NAME, 1, T0 + 3, final=True),
        ),
        (
            (("enforced", 1), ("enforced", 2), ("reverted", 1, {"mode": "enforce"}), ("ready", 3), ("enforced", 3)),
            Promoted(NAME, 3, T0 + 4, previous=1),
        ),
        ((("enforced", 1, {"found": "enforce"}),), Promoted(NAME, 1, T0, found=True)),
        ((("enforced", 1, {"found": "complain"}),), Promoted(NAME, 1, T0)),
        ((("enforced", 1, {"found": "enforce"}), ("reverted", 0, {"mode": "enforce"})), None),  # back at what was found
        (
            (("enforced", 1, {"found": "enforce"}), ("reverted", 0, {"mode": "enforce"}), ("enforced", 2)),
            Promoted(NAME, 2, T0 + 2, found=True),
        ),
        ((("enforced", 1), ("retired", 0)), None),
        ((("enforced", 1), ("retired", 0), ("draft", 0), ("enforced", 2)), Promoted(NAME, 2, T0 + 3)),
    ],
)
def test_what_is_enforced_by_the_steps(
    taken: tuple[tuple[str, int] | tuple[str, int, dict[str, object]], ...], promoted: Promoted | None
) -> None:
    assert promoted_of(NAME, steps(*taken)) == promoted
