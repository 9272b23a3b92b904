"""Exec transitions: the table of log-records §4, folding of children and peers, hats, the limit of named targets."""

import pytest

from aalearn.grammar.writer import write
from aalearn.model.errors import NotExpressible
from tests.learn.accesses import Made
from tests.learn.conftest import learn, texts, withheld

NULL = b"p//null-/usr/bin/tool"


def test_nested_children_fold_into_the_profile() -> None:
    made = Made()
    made.exec("/usr/bin/find")
    made.exec("/usr/bin/stat", profile=b"p//null-/usr/bin/find")
    made.file("/data/x", profile=b"p//null-/usr/bin/find//null-/usr/bin/stat")
    rules = texts(learn(made.all))
    assert "/data/x r," in rules
    assert "/usr/bin/find ix," in rules
    assert "/usr/bin/stat ix," in rules


@pytest.mark.parametrize(
    ("need", "reason"),
    [
        ({"operation": "capable", "capname": "chown", "capability": "0", "class": "cap"}, "capability chown"),
        ({"operation": "open", "name": "/etc/shadow", "denied_mask": "r", "class": "file"}, "/etc/shadow"),
        ({"operation": "open", "name": "/srv/out", "denied_mask": "wc", "class": "file"}, "writes /srv/out"),
    ],
)
def test_a_child_that_needs_what_the_profile_does_not_gets_a_profile(need: dict[str, str], reason: str) -> None:
    made = Made()
    made.exec("/usr/bin/tool")
    made.add(profile=NULL, **need)  # type: ignore[arg-type]
    found = learn(made.all)
    assert "/usr/bin/tool Cx -> tool," in texts(found)
    child = found.document.profile.children[0]
    assert child.name == "tool"
    comments = [comment for line in found.document.profile.lines for comment in line.comments]
    assert any(reason in comment for comment in comments)


def test_a_few_harmless_rules_stay_in_the_profile_and_many_do_not() -> None:
    made = Made()
    made.exec("/usr/bin/tool")
    for number in range(4):
        made.file(f"/etc/few{chr(97 + number)}", profile=NULL)
    assert "/usr/bin/tool ix," in texts(learn(made.all))
    for number in range(20):
        made.file(f"/etc/many{chr(97 + number)}", profile=NULL)
    assert "/usr/bin/tool Cx -> tool," in texts(learn(made.all))


def test_no_new_privs_and_containers_can_only_inherit() -> None:
    made = Made()
    made.exec("/usr/bin/tool", info="no new privs", error="-1")
    made.add("capable", profile=NULL, capname="chown", capability="0", class_="cap")
    assert "/usr/bin/tool ix," in texts(learn(made.all))
    other = Made()
    other.exec("/usr/bin/tool")
    other.file("/srv/out", "wc", profile=NULL)
    rules = texts(learn(other.all, container=True))
    assert "/usr/bin/tool ix," in rules
    assert "/srv/out w," in rules


def test_a_loaded_profile_is_used_by_its_name_and_its_needs_are_not_ours() -> None:
    made = Made()
    made.exec("/usr/bin/tool")
    made.file("/srv/out", "wc", profile=NULL)
    found = learn(made.all, loaded=((b"/usr/bin/tool", "tool"),))
    assert "/usr/bin/tool Px," in texts(found)
    assert "/srv/out w," not in texts(found)
    assert any("belongs to that profile" in note.text for note in found.notes)


def test_audit_of_ix_fallback_is_evidence_and_other_audits_are_not() -> None:
    made = Made()
    made.exec("/usr/bin/tool", verdict="AUDIT", info="ix fallback", target=b"p")
    made.file("/etc/motd", verdict="AUDIT")
    assert texts(learn(made.all)) == ["/usr/bin/tool ix,"]


@pytest.mark.parametrize("verdict", ["STATUS", "HINT", "ERROR", "KILLED", "AUTO"])
def test_other_verdicts_are_never_evidence(verdict: str) -> None:
    made = Made()
    made.file("/etc/motd", verdict=verdict)
    assert texts(learn(made.all, include_denied=True)) == []


def test_denied_counts_only_where_asked_for_and_is_marked() -> None:
    made = Made()
    made.file("/etc/motd", verdict="DENIED")
    assert texts(learn(made.all)) == []
    found = learn(made.all, include_denied=True)
    assert texts(found) == ["/etc/motd r,"]
    assert "DENIED" in write(found.document)


def test_peers_are_folded_and_the_silent_side_is_added() -> None:
    made = Made()
    made.exec("/usr/bin/ls")
    made.exec("/usr/bin/su")
    made.file("/srv/out", "wc", profile=b"p//null-/usr/bin/su")
    for target in ("ls", "su"):
        peer = f"p//null-/usr/bin/{target}"
        made.add("signal", requested_mask="send", denied_mask="send", signal="term", peer=peer, class_="signal")
    found = learn(made.all)
    assert "signal (send) set=(term) peer=p," in texts(found, "")
    assert "signal (send) set=(term) peer=p//su," in texts(found, "")
    assert "signal (receive) set=(term) peer=p," in texts(found, "")
    assert "signal (receive) set=(term) peer=p," in texts(found, "su")


def test_a_hat_becomes_a_block_and_one_without_a_spelling_is_reported() -> None:
    made = Made()
    for hat in ("HatA", "GET /index"):
        made.add("change_hat", name=hat, target=f"p//null-{hat}", class_="file")
        made.file("/srv/page", profile=f"p//null-{hat}")
    made.file("/srv/other", profile="p//HatB")
    found = learn(made.all)
    assert [hat.name for hat in found.document.profile.hats] == ["HatA", "HatB"]
    assert any(note.level == "inexpressible" and "GET /index" in note.text for note in found.notes)
    assert "^HatA {" in write(found.document)


def test_what_ran_under_a_missing_profile_is_not_taken_for_a_hat() -> None:
    made = Made()
    made.file("/srv/x", profile="p//null-no_such")
    found = learn(made.all)
    assert not found.document.profile.hats
    assert any("no_such" in note.text for note in found.notes)


def test_at_most_twelve_named_targets() -> None:
    made = Made()
    for letter in "abcdefghijklmnopqrst":
        made.exec(f"/usr/bin/{letter}")
        made.file(f"/srv/{letter}/out", "wc", profile=f"p//null-/usr/bin/{letter}")
    found = learn(made.all)
    assert len(found.document.profile.children) == 12
    assert sum("-> others," in text for text in texts(found)) == 9


def test_children_of_one_base_name_get_different_profiles() -> None:
    made = Made()
    for folder in ("/usr/bin", "/opt/bin"):
        made.exec(f"{folder}/tool")
        made.file(f"/srv{folder}", "wc", profile=f"p//null-{folder}/tool")
    names = [child.name for child in learn(made.all).document.profile.children]
    assert len(set(names)) == 2


def test_a_name_that_policy_cannot_spell_is_refused() -> None:
    with pytest.raises(NotExpressible):
        learn([], b"wl sp/ace [x]")


def test_learned_events_name_the_block_that_must_allow_them() -> None:
    made = Made()
    made.exec("/usr/bin/su")
    made.file("/srv/out", "wc", profile=b"p//null-/usr/bin/su")
    found = learn(made.all)
    assert {one.event.profile for one in found.learned} == {b"p", b"p//su"}
    exec_event = next(one.event for one in found.learned if one.event.operation == "exec")
    assert exec_event.get("target") == b"p//su"
    assert not withheld(found)
