"""Which stretches are one run."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from aalearn.store.batch import RUN_GAP_MS, START_WINDOW_MS
from aalearn.store.joining import Stretch, together

T = 1_700_000_000_000


def stretch(pid: int, start: int, end: int, fresh: bool = False, node: int = 1) -> Stretch:
    return Stretch(node, pid, T + start, T + end, fresh, b"", pid * 10**9 + start)


def runs(*stretches: Stretch) -> list[list[int]]:
    return [[one.pid for one in run] for run in together(stretches)]


def test_a_double_fork_is_one_start() -> None:
    assert runs(stretch(500, 0, 1), stretch(501, 4, 5)) == [[500, 501]]
    assert runs(stretch(500, 0, 0), stretch(501, START_WINDOW_MS, START_WINDOW_MS)) == [[500, 501]]
    assert runs(stretch(500, 0, 1, fresh=True), stretch(501, 4, 5, fresh=True)) == [[500, 501]]


def test_processes_apart_are_starts_of_their_own() -> None:
    late = START_WINDOW_MS + 1
    assert runs(stretch(500, 0, 1), stretch(501, late, late)) == [[500], [501]]
    assert runs(stretch(500, 0, 1), stretch(501, 4, 5, node=2)) == [[500], [501]]
    assert runs(stretch(500, 0, 1), stretch(501, 4, 5, fresh=True)) == [[500], [501]]


def test_processes_that_overlap_are_one_run() -> None:
    assert runs(stretch(500, 0, 10**9), stretch(501, 10**8, 10**8)) == [[500, 501]]
    assert runs(stretch(500, 0, 10**9), stretch(501, 10, 20), stretch(502, 10**8, 10**8)) == [[500, 501, 502]]
    assert runs(stretch(500, 0, 10**9), stretch(501, 10**8, 10**8, fresh=True)) == [[500, 501]]


def test_a_pid_goes_on() -> None:
    assert runs(stretch(5, 0, 1), stretch(5, RUN_GAP_MS, RUN_GAP_MS)) == [[5, 5]]
    assert runs(stretch(5, 0, 1), stretch(5, RUN_GAP_MS + 1, RUN_GAP_MS + 1)) == [[5], [5]]
    assert runs(stretch(5, 0, 1), stretch(5, 9, 9, fresh=True)) == [[5], [5]]


STRETCHES = st.lists(
    st.builds(
        lambda pid, start, length, fresh, node: stretch(pid, start, start + length, fresh, node),
        st.integers(1, 4),
        st.integers(0, 200_000),
        st.integers(0, 50_000),
        st.booleans(),
        st.integers(1, 2),
    ),
    max_size=5,
)


@given(STRETCHES)
def test_the_order_does_not_matter(stretches: list[Stretch]) -> None:
    expected = together(stretches)
    assert all(together(order) == expected for order in permutations(stretches))
