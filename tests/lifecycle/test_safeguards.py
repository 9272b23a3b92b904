"""What root's record says against a promotion, by hand-made lists of what was applied."""

import pytest

from aalearn.lifecycle.node.records import Applied
from aalearn.lifecycle.safeguards import taken_back, unedited
from aalearn.model.errors import UsageError

Brief = tuple[str, str, str]  # stage, the revision's text, mode
PROMOTED = ("enforced", "1", "enforce")
NEXT = ("enforced", "2", "enforce")
BACK = ("reverted", "1", "enforce")


def entries(*briefs: Brief) -> tuple[Applied, ...]:
    return tuple(
        Applied(at, at - 1, "app", f"text {origin}", "p", mode, stage, int(origin or 0), "x", "", at, origin=origin)
        for at, (stage, origin, mode) in enumerate(briefs, 1)
    )


CASES: list[tuple[tuple[Brief, ...], set[str]]] = [
    ((), set()),
    ((("learning", "0", "complain"), PROMOTED, NEXT), set()),
    ((PROMOTED, NEXT, BACK), {"2"}),
    ((PROMOTED, NEXT, BACK, BACK), {"2"}),  # applied again by reconcile
    ((PROMOTED, NEXT, BACK, ("reverted", "0", "complain")), {"1", "2"}),
    ((PROMOTED, ("reverted", "1", "complain")), {"1"}),
    ((PROMOTED, ("reverted", "1", "complain"), ("reverted", "1", "complain")), {"1"}),
    ((PROMOTED, ("reverted", "1", "complain"), BACK), set()),  # a person went back to it
    ((PROMOTED, ("reverted", "1", "complain"), PROMOTED), set()),
    ((PROMOTED, ("reverted", "1", "complain"), ("learning", "0", "complain")), {"1"}),
    ((PROMOTED, ("reverted", "1", "complain"), ("learning", "0", "complain"), NEXT), {"1"}),
    ((("canary", "1", "enforce"), PROMOTED, ("reverted", "1", "complain")), {"1"}),
    ((PROMOTED, NEXT, BACK, ("retired", "0", "")), set()),
    ((("", "0", "enforce"), PROMOTED, ("reverted", "0", "enforce")), {"1"}),  # to what was found here
]


@pytest.mark.parametrize(("briefs", "gone"), CASES)
def test_what_was_taken_back(briefs: tuple[Brief, ...], gone: set[str]) -> None:
    assert taken_back(entries(*briefs)) == gone


def test_entries_of_an_older_aalearn_are_known_by_their_text() -> None:
    old = tuple(
        Applied(at, at - 1, "app", text, "p", mode, stage, 1, "x", "", at)
        for at, (stage, text, mode) in enumerate((PROMOTED, ("reverted", "0", "complain")), 1)
    )
    assert taken_back(old) == {"1"}


def test_without_a_record_or_a_file_nothing_is_edited() -> None:
    unedited("/x/app", "app", b"profile app { }\n", b"app", ())
    unedited("/x/app", "app", None, b"app", entries(PROMOTED))
    unedited("/x/other", "other", b"profile app { }\n", b"app", entries(PROMOTED))
    for content in (b"profile app { }\n", b"no profile {", b"\xff"):
        with pytest.raises(UsageError, match="/x/app was edited since aalearn wrote it"):
            unedited("/x/app", "app", content, b"app", entries(PROMOTED))
