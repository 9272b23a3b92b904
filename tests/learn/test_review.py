"""What waits for a person: risk tiers, single runs, untrusted sources, decisions, modes; floods and scale."""

import pytest

from aalearn.grammar.writer import write
from aalearn.learn.options import Action, Decision, Mode
from aalearn.learn.population import Population
from aalearn.learn.risk import assess, capability_risk
from aalearn.model.event import Event, Verdict
from aalearn.model.profile import State
from aalearn.model.target import Target
from aalearn.rules import rules_of
from tests.learn.accesses import Made
from tests.learn.conftest import learn, texts, withheld


def event(operation: str, **fields: str) -> Event:
    pairs = tuple(sorted((key.rstrip("_"), value.encode()) for key, value in fields.items()))
    return Event(Verdict.ALLOWED, operation, b"p", pairs)


@pytest.mark.parametrize(
    ("asked", "tier", "word"),
    [
        (event("open", name="/usr/bin/x", denied_mask="wc"), 1, "drop and run"),
        (event("connect", name="/run/containerd/containerd.sock", denied_mask="rw"), 1, "runtime"),
        (event("open", name="/var/lib/kubelet/x", denied_mask="w"), 1, "kubelet"),
        (event("open", name="/proc/sys/kernel/core_pattern", denied_mask="w"), 1, "CVE-2025"),
        (event("open", name="/proc/sysrq-trigger", denied_mask="w"), 1, "CVE-2025"),
        (event("open", name="/proc/12/mem", denied_mask="r"), 1, "memory"),
        (event("open", name="/dev/sda", denied_mask="r"), 1, "raw"),
        (event("open", name="/sys/fs/cgroup/x/release_agent", denied_mask="w"), 1, "CVE-2022-0492"),
        (event("open", name="/proc/12/exe", denied_mask="w"), 1, "CVE-2019-5736"),
        (event("open", name="/sys/kernel/security/apparmor/.load", denied_mask="w"), 1, "policy"),
        (event("open", name="/etc/shadow", denied_mask="r"), 2, "credentials"),
        (event("open", name="/home/ann/.ssh/id_rsa", denied_mask="r"), 2, "credentials"),
        (event("open", name="/run/secrets/token", denied_mask="r"), 2, "token"),
        (event("mount", name="/mnt/", srcname="cgroup", fstype="cgroup"), 1, "CVE-2022-0492"),
        (event("mount", name="/mnt/", flags="rw, move"), 1, "CVE-2021-30465"),
        (event("pivotroot", name="/new/", srcname="/new/old/"), 1, "CVE-2021-30465"),
        (event("change_profile", name="unconfined", target="unconfined"), 1, "escape"),
        (
            event("userns_create", class_="namespace", denied="userns_create", requested="userns_create"),
            1,
            "CVE-2022-0185",
        ),
        (event("ptrace", class_="ptrace", denied_mask="trace", peer="unconfined"), 2, "unconfined"),
        (event("create", class_="net", family="netlink", sock_type="raw"), 2, "kernel surface"),
        (event("create", class_="net", family="packet", sock_type="dgram"), 2, "raw packets"),
        (event("create", class_="net", family="inet", sock_type="stream"), 0, ""),
        (event("open", name="/etc/motd", denied_mask="r"), 0, ""),
    ],
)
def test_risks_of_rules(asked: Event, tier: int, word: str) -> None:
    target = Target(abi="4.0", parser=(4, 1), mediates=Target().mediates | {"userns"})
    risks = [assess(rule) for rule in rules_of(asked, None, target).rules]
    assert risks
    assert min((risk.tier or 9) for risk in risks) % 9 == tier
    assert any(word in risk.why for risk in risks)


def test_every_capability_has_a_tier_and_a_sentence() -> None:
    from aalearn.model.data import words

    for name in words("capabilities")["names"]:
        risk = capability_risk(name)
        assert risk.tier in (1, 2, 3, 4)
        assert name in risk.why
    assert {capability_risk(name).tier for name in ("sys_admin", "bpf", "dac_read_search", "sys_module")} == {1}


def tier_one() -> Made:
    made = Made()
    made.add("capable", capname="sys_admin", capability="21", class_="cap")
    made.add("capable", capname="chown", capability="0", class_="cap")
    made.file("/etc/motd")
    made.file("/etc/once", runs=(2,))
    return made


def test_tier_one_is_withheld_and_the_rest_is_active_and_marked() -> None:
    found = learn(tier_one().all)
    assert withheld(found) == ["capability sys_admin,"]
    assert {waiting.rule for waiting in found.review} == {"capability chown,", "/etc/once r,"}
    text = write(found.document)
    assert "# withheld: capability sys_admin," in text
    assert [one.withheld for one in found.learned if one.event.get("capname") == b"sys_admin"] == [True]


def test_all_makes_everything_active_and_accepted_leaves_out_what_waits() -> None:
    assert {"capability sys_admin,", "capability chown,", "/etc/once r,"} <= set(
        texts(learn(tier_one().all, mode=Mode.ALL))
    )
    assert texts(learn(tier_one().all, mode=Mode.ACCEPTED)) == ["/etc/motd r,"]


def test_decisions_are_remembered_and_said() -> None:
    made = tier_one()
    decisions = (
        Decision("capability sys_admin,", Action.APPROVE, "ann", 1, "it mounts"),
        Decision("capability chown,", Action.ACCEPT, "bob", 2, ""),
        Decision("/etc/once r,", Action.DENY, "ann", 3, "not ours"),
        Decision("/etc/motd r,", Action.OWNER, "ann", 4, ""),
    )
    found = learn(made.all, decisions=decisions)
    assert texts(found) == ["capability chown,", "capability sys_admin,", "owner /etc/motd r,"]
    assert not found.review
    assert withheld(found) == ["/etc/once r,"]
    assert "approve by ann: it mounts" in write(found.document)
    assert "/etc/once" not in write(found.document)


def test_accept_does_not_approve_tier_one() -> None:
    decision = Decision("capability sys_admin,", Action.ACCEPT, "ann", 1, "")
    assert withheld(learn(tier_one().all, decisions=(decision,))) == ["capability sys_admin,"]


def test_what_is_written_and_run_is_tier_one_and_created_programs_are_said() -> None:
    made = Made()
    made.file("/srv/x", "wc")
    made.exec("/srv/x")
    found = learn(made.all)
    assert set(withheld(found)) == {"/srv/x w,", "/srv/x ix,"}
    assert any("created it and then ran it" in reason for waiting in found.withheld for reason in waiting.reasons)


def test_untrusted_records_wait_where_others_are_trusted() -> None:
    made = Made()
    made.file("/etc/motd")
    made.file("/etc/forged", trusted=False)
    found = learn(made.all)
    assert [waiting.rule for waiting in found.review] == ["/etc/forged r,"]
    assert "forged" in found.review[0].reasons[0]


def test_single_runs_do_not_vouch_for_each_other() -> None:
    made = Made()
    made.file("/etc/motd")
    for run, signal in ((1, "term"), (2, "hup")):
        made.add("signal", (run,), denied_mask="send", requested_mask="send", signal=signal, peer="q", class_="signal")
    made.file("/srv/x", "r")
    made.file("/srv/x", "w", (2,))
    found = learn(made.all)
    assert {waiting.rule for waiting in found.review} == {"signal (send) set=(hup, term) peer=q,", "/srv/x w,"}
    assert {"/etc/motd r,", "/srv/x r,"} <= set(texts(found))
    text = write(found.document)
    assert text.count("one run") == 1


def test_a_window_of_one_run_says_so_once() -> None:
    made = Made()
    made.file("/etc/motd", runs=(1,))
    made.file("/etc/issue", runs=(1,))
    found = learn(made.all)
    assert not found.review
    assert "second run" in write(found.document)
    assert texts(learn(made.all, mode=Mode.ACCEPTED)) == []


def test_memory_of_other_processes_is_proposed_and_not_granted() -> None:
    made = Made()
    for pid in (11, 22, 33):
        made.file(f"/proc/{pid}/environ", runs=(pid, 1))
    found = learn(made.all)
    assert withheld(found) == ["@{PROC}/@{pid}/environ r,"]
    accepted = Decision("@{PROC}/@{pid}/environ r,", Action.ACCEPT, "ann", 1, "")
    assert texts(learn(made.all, decisions=(accepted,))) == ["@{PROC}/@{pid}/environ r,"]


def test_a_person_may_have_a_guarded_path_generalised() -> None:
    made = Made()
    for number in (1, 2, 3):
        made.file(f"/etc/cron.d/job{number}", runs=(number, 4))
    assert "/etc/cron.d/job1 r," in texts(learn(made.all))
    wanted = tuple(Decision(f"/etc/cron.d/job{number} r,", Action.GENERALISE, "ann", 1, "") for number in (1, 2, 3))
    assert "/etc/cron.d/job[0-9]" + "{[0-9],}" * 9 + " r," in texts(learn(made.all, decisions=wanted))


def test_fan_out_needs_a_population_and_says_what_it_opens() -> None:
    made = Made()
    names = ("alpha", "beta", "gamma", "delta", "epsilon")
    for name in names:
        made.file(f"/srv/app/{name}.conf", runs=(1, 2, 3))
    assert len(texts(learn(made.all))) == 5
    files = [f"/srv/app/{name}.conf".encode() for name in (*names, "zeta")]
    found = learn(made.all, population=Population(files))
    assert texts(found) == ["/srv/app/[A-Za-z0-9_]*.conf r,"]
    assert "opens 1 files" in write(found.document)
    many = [*files, *(f"/srv/app/x{number}.conf".encode() for number in range(40))]
    assert len(texts(learn(made.all, population=Population(many)))) == 5


def test_a_data_root_needs_proof_that_nobody_else_uses_it_and_a_person() -> None:
    made = Made()
    made.add("mkdir", name="/var/lib/app/store/", denied_mask="c", owner=True, class_="file")
    for number, word in enumerate(("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis")):
        made.file(f"/var/lib/app/store/{word}", "wc", (1 + number % 3,), owner=True)
    assert not any("**" in rule for rule in (*texts(learn(made.all)), *withheld(learn(made.all))))
    found = learn(made.all, shared=frozenset({b"/var/lib/other"}))
    assert "owner /var/lib/app/store/** w," in withheld(found)
    shared = learn(made.all, shared=frozenset({b"/var/lib/app/store/ant"}))
    assert not any("**" in rule for rule in withheld(shared))


def test_too_many_rules_are_squeezed_and_said() -> None:
    made = Made()
    for number in range(400):
        name = "".join(chr(97 + number // 26**power % 26) for power in range(3))
        made.file(f"/srv/app/{name}.dat", runs=(1, 2))
    found = learn(made.all, max_file_rules=300)
    assert len(texts(found)) == 1
    assert "too many rules" in found.review[0].reasons[0]
    made.file("/srv/odd", runs=(1, 2))
    assert len(texts(learn(made.all))) == 401


def test_states_in_the_document_match_the_lists() -> None:
    found = learn(tier_one().all)
    states = [line.state for line in found.document.profile.lines]
    assert states.count(State.REVIEW) == len(found.review)
    assert states.count(State.WITHHELD) == len(found.withheld)


def test_what_was_only_partly_understood_waits_for_a_person() -> None:
    made = Made()
    made.file("/etc/strange", "rQ")
    made.file("/etc/plain", "r")
    found = learn(made.all)
    assert [(waiting.rule, waiting.active) for waiting in found.review] == [("/etc/strange r,", True)]
    assert "more that is not known" in found.review[0].reasons[0]


def test_a_decision_on_a_rule_for_all_holds_for_the_owner_s() -> None:
    """With the third event of an owner the rule becomes `owner`: nobody need decide again."""
    made = Made()
    made.file("/srv/new.conf", runs=(1,), owner=True, count=3)
    made.file("/etc/a", runs=(1, 2))
    waits = learn(made.all)
    assert "owner /srv/new.conf r," in texts(waits)
    assert [one.rule for one in waits.review] == ["owner /srv/new.conf r,"]
    accepted = learn(made.all, decisions=(Decision("/srv/new.conf r,", Action.ACCEPT, "ann", 1, ""),))
    assert accepted.review == ()
    denied = Decision("/srv/new.conf r,", Action.DENY, "ann", 1, "")
    assert [one.rule for one in learn(made.all, decisions=(denied,)).withheld if one.denied] == [
        "owner /srv/new.conf r,"
    ]
    again = (denied, Decision("owner /srv/new.conf r,", Action.ACCEPT, "ann", 2, ""))
    assert "owner /srv/new.conf r," in texts(learn(made.all, decisions=again))
    narrow = (Decision("owner /etc/a r,", Action.DENY, "ann", 1, ""),)
    assert "/etc/a r," in texts(learn(made.all, decisions=narrow)), "not the other way round"
