"""The comparison alone, as a table: what was applied, what was noted, what is there → the differences."""

from dataclasses import replace

import pytest

from aalearn.lifecycle.reconcile import Expected, Kind, Noted, Observed, Running, compare

NAME = b"app"
IN_FORCE = Expected("app", "t1", "p1", "enforce", "enforced", 2, 100, (("force-complain/app", ""),))
GONE = Expected("app", "", "", "", "retired", 2, 100)
STEP = Noted("enforced", 2, 100)
FINE = Observed("t1", (("force-complain/app", ""),), (Running(NAME, "enforce", True),), (NAME,))

TABLE: list[tuple[str, Expected | None, Noted | None, Observed, list[Kind]]] = [
    ("all agree", IN_FORCE, STEP, FINE, []),
    ("file gone", IN_FORCE, STEP, replace(FINE, file=""), [Kind.FILE_MISSING]),
    ("file edited", IN_FORCE, STEP, replace(FINE, file="t2"), [Kind.FILE_EDITED]),
    (
        "edited and never loaded",
        IN_FORCE,
        STEP,
        replace(FINE, file="t2", running=()),
        [Kind.FILE_EDITED, Kind.NOT_LOADED],
    ),
    (
        "edited and loaded so: that is one matter",
        IN_FORCE,
        STEP,
        replace(FINE, file="t2", running=(Running(NAME, "enforce", False),)),
        [Kind.FILE_EDITED],
    ),
    ("a link", IN_FORCE, STEP, replace(FINE, links=(("force-complain/app", "../app"),)), [Kind.LINK]),
    ("after a reboot", IN_FORCE, STEP, replace(FINE, running=()), [Kind.NOT_LOADED]),
    ("a child is missing", IN_FORCE, STEP, replace(FINE, names=(NAME, b"app//c")), [Kind.NOT_LOADED]),
    ("complain", IN_FORCE, STEP, replace(FINE, running=(Running(NAME, "complain", True),)), [Kind.MODE]),
    ("another policy", IN_FORCE, STEP, replace(FINE, running=(Running(NAME, "enforce", False),)), [Kind.OTHER_POLICY]),
    ("not said", IN_FORCE, STEP, replace(FINE, running=(Running(NAME, "enforce", None),)), []),
    ("no step", IN_FORCE, None, FINE, [Kind.NOT_WRITTEN_DOWN]),
    ("an older step", IN_FORCE, Noted("learning", 0, 50), FINE, [Kind.NOT_WRITTEN_DOWN]),
    ("a newer step", IN_FORCE, Noted("reverted", 1, 150), FINE, [Kind.STORE_AHEAD]),
    ("the same step, told later", IN_FORCE, Noted("enforced", 2, 150), FINE, []),
    ("found here", replace(IN_FORCE, stage=""), None, FINE, []),
    ("tasks", IN_FORCE, STEP, replace(FINE, astray=("pid 1", "pid 2"), units=("a.service",)), [Kind.ASTRAY]),
    ("tasks of complain mode", replace(IN_FORCE, mode="complain", stage="reverted"), Noted("reverted", 2, 100),
     replace(FINE, running=(Running(NAME, "complain", True),), astray=("pid 1",)), []),
    ("does not compile", IN_FORCE, STEP, replace(FINE, trouble="syntax error"), [Kind.UNCOMPILABLE]),
    ("retired", GONE, Noted("retired", 2, 100), Observed(""), []),
    (
        "retired and back",
        GONE,
        Noted("retired", 2, 100),
        Observed("t1", running=(Running(NAME, "enforce", None),)),
        [Kind.FILE_LEFT, Kind.STILL_LOADED],
    ),
    ("retired, and another's by now", GONE, Noted("retired", 2, 100),
     Observed("t9", running=(Running(NAME, "enforce", None),), others="it is of a package"), [Kind.FILE_EDITED]),
    ("retired, and loaded by another", GONE, Noted("retired", 2, 100),
     Observed("", running=(Running(NAME, "enforce", None),), others="another file defines it"), [Kind.STILL_LOADED]),
    ("retired, and what was found is back", replace(GONE, text="t1", policy="p1", mode="complain"),
     Noted("retired", 2, 100), Observed("t9"), []),
    ("retired, and what was found unloaded is back", replace(GONE, text="t1"), Noted("retired", 2, 100),
     Observed("t1", running=(Running(NAME, "enforce", None),)), []),
    ("switched off", replace(GONE, text="t1", links=(("disable/app", "../app"),)), Noted("retired", 2, 100),
     Observed("t9", (("disable/app", "../app"),)), []),
    ("switched off no more", replace(GONE, text="t1", links=(("disable/app", "../app"),)), Noted("retired", 2, 100),
     Observed("t9", (("disable/app", ""),), (Running(NAME, "enforce", None),)), [Kind.STILL_LOADED, Kind.LINK]),
    ("a second file is gone", IN_FORCE, STEP, replace(FINE, lacking=("app2",)), [Kind.FILE_MISSING]),
    ("another mode at the next boot", IN_FORCE, STEP, replace(FINE, boot="a flag"), [Kind.FILE_EDITED]),
    ("gates held once more, and no end", IN_FORCE, replace(STEP, ready=True), FINE, [Kind.NOT_WRITTEN_DOWN]),
    ("gates held of what complains", replace(IN_FORCE, mode="complain", stage="learning"),
     Noted("learning", 2, 100, ready=True), replace(FINE, running=(Running(NAME, "complain", True),)), []),
    ("taken back to a revision, and the store tells of complain mode", replace(IN_FORCE, stage="reverted"),
     Noted("reverted", 2, 50, mode="complain"), FINE, [Kind.NOT_WRITTEN_DOWN]),
    ("a step that tells the mode", IN_FORCE, replace(STEP, mode="enforce"), FINE, []),
    ("another machine's", None, Noted("learning", 0, 1), Observed(""), []),
    ("enforced elsewhere", None, STEP, Observed(""), [Kind.STORE_AHEAD]),
    ("enforced by other means", None, STEP, Observed("", running=(Running(NAME, "enforce", None),)), []),
    ("complains", None, STEP, Observed("", running=(Running(NAME, "complain", None),)), [Kind.STORE_AHEAD]),
]  # fmt: skip


def test_what_runs_under_a_retired_profile_is_stopped_first() -> None:
    running = (Running(NAME, "enforce", None),)
    seen = Observed("t1", running=running, users=("pid 1", "pid 2"), units=("a.service",))
    for units, mend in ((("a.service",), "systemctl stop a.service"), ((), "end it")):
        found = compare(NAME, GONE, Noted("retired", 2, 100), replace(seen, units=units))
        assert [one.kind for one in found] == [Kind.FILE_LEFT, Kind.STILL_LOADED]
        assert not any(one.fixable for one in found)
        assert {one.mend for one in found} == {f"{mend}, and then `aalearn reconcile --fix`"}
        assert "pid 1 and 1 more, which would go on unconfined" in found[1].what


@pytest.mark.parametrize(("expected", "noted", "seen", "kinds"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_differences(expected: Expected | None, noted: Noted | None, seen: Observed, kinds: list[Kind]) -> None:
    found = compare(NAME, expected, noted, seen)
    assert [one.kind for one in found] == kinds
    for one in found:
        assert one.mend
        assert one.what.isprintable()
        assert one.fixable == (one.mend == "aalearn reconcile --fix")
