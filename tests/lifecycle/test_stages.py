"""Every pair of stages: legal, or refused with the reason and what to do instead."""

import pytest

from aalearn.lifecycle.stages import Stage, check, following, refusal, stage_of
from aalearn.model.errors import UsageError

D, L, R, C, E, V, X = Stage
LEGAL = {
    None: {D, L, R, X},
    D: {D, L, X},
    L: {D, L, R, X},
    R: {D, L, R, C, E, X},
    C: {R, C, E, V, X},
    E: {R, E, V, X},
    V: {D, L, R, V, X},
    X: {D, L},
}


@pytest.mark.parametrize("before", [None, *Stage])
@pytest.mark.parametrize("after", list(Stage))
def test_every_pair(before: Stage | None, after: Stage) -> None:
    told = refusal(before, after, "web")
    assert (told == "") == (after in LEGAL[before])
    assert (after in following(before)) == (told == "")
    if told:
        assert told.startswith(f"web can't go from {before or 'no stage'} to {after}: ")
        assert "{" not in told
        with pytest.raises(UsageError) as raised:
            check(before, after, b"web")
        assert str(raised.value) == told
    else:
        check(before, after, b"web")


def test_each_stage_can_be_reached_and_left() -> None:
    for stage in Stage:
        assert any(stage in following(before) for before in (None, *Stage) if before != stage)
        assert any(after != stage for after in following(stage))


def test_nothing_is_enforced_without_the_gates() -> None:
    """Only what was ready may become enforced, by whatever road."""
    for before in (None, *Stage):
        if Stage.ENFORCED in following(before):
            assert before in (R, C, E)
        if Stage.CANARY in following(before):
            assert before in (R, C)


def test_words() -> None:
    assert [stage_of(stage.value) for stage in Stage] == list(Stage)
    assert stage_of(None) is None
    with pytest.raises(UsageError, match=r"does not know: sh\\x1bip"):
        stage_of("sh\x1bip")


def test_names_are_made_safe() -> None:
    with pytest.raises(UsageError, match=r"^a\\x1bb can't go from no stage to enforced: the gates come first"):
        check(None, Stage.ENFORCED, b"a\x1bb")
