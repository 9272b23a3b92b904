"""A change of profile whose name is a path that a file rule matches: the compiler can't hold both."""

import pytest

from tests.learn.accesses import Made
from tests.learn.conftest import learn, proof, texts, withheld

CHANGE = "change_profile -> /tmp/prog,"


def both() -> Made:
    made = Made()
    made.exec("/tmp/prog")
    made.add("change_profile", name="/tmp/prog", target="/tmp/prog")
    return made


def test_a_change_of_profile_that_would_undo_a_file_rule_is_withheld() -> None:
    found = learn(both().all)
    assert CHANGE in withheld(found)
    assert CHANGE not in texts(found)
    assert [one.withheld for one in found.learned if one.event.operation == "change_profile"] == [True]
    assert any("would drop the file rule" in note.text for note in found.notes)


def test_a_change_of_profile_to_another_name_stands() -> None:
    made = Made()
    made.file("/tmp/prog")
    made.add("change_profile", name="/tmp/other", target="/tmp/other")
    made.add("change_profile", name="prog", target="prog")
    assert {"change_profile -> /tmp/other,", "change_profile -> prog,"} <= set(texts(learn(made.all)))


@pytest.mark.parser
def test_the_proof_holds_beside_such_a_change(parser: str) -> None:
    shown = proof(learn(both().all), parser)
    assert shown.proved, shown.failures
