"""Abstractions are offered only where the two numbers justify them, and never with anything that nobody asked for."""

import random
from pathlib import Path

import pytest

from aalearn.learn.options import Options
from aalearn.learn.population import Population
from aalearn.lifecycle.abstractions import LEAST, with_abstractions
from aalearn.lifecycle.grounds import grounds
from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.proposal import Proposal, whole
from aalearn.model.errors import UsageError
from aalearn.policy.compare import compare
from tests.lifecycle.shelves import DEBIAN, NAMES, base_of, measure, needs, propose, rules, several

pytestmark = pytest.mark.parser


def included(proposal: Proposal) -> list[str]:
    return [line.strip() for line in proposal.text.splitlines() if line.strip().startswith("include <abstractions/")]


def refused(proposal: Proposal, name: str) -> str:
    """Return why an abstraction is refused; the profile is proved without it."""
    found = measure(proposal, name)
    assert not found.offered
    assert f"include <abstractions/{name}>" not in included(proposal)
    assert proposal.proof.proved, proposal.proof.failures
    return found.why


def test_one_that_covers_and_opens_nothing_is_offered(tmp_path: Path) -> None:
    base = base_of(tmp_path, small=rules(), sub__deep=rules("/opt/other"))
    made = several()
    made.all += several("/opt/other", LEAST).all
    made.file("/etc/app.conf")
    proposal = propose(base, made.all, [f"/opt/app/{name}" for name in NAMES])
    assert proposal.proof.proved, proposal.proof.failures
    assert included(proposal) == ["include <abstractions/small>", "include <abstractions/sub/deep>"]
    assert "/opt/app/" not in proposal.text
    assert "/etc/app.conf r," in proposal.text
    assert "# saves 7 rules; opens 0 files for reading and 0 for writing that nothing accessed" in proposal.text
    found = measure(proposal, "small")
    assert (found.offered, found.saves, found.opens_read, found.opens_write) == (True, 7, 0, 0)
    assert found.rules == tuple(sorted(f"/opt/app/{name} r," for name in NAMES))


def test_the_policy_stays_the_same(tmp_path: Path) -> None:
    base = base_of(tmp_path, small=rules())
    made = several()
    made.file("/etc/app.conf")
    judge = Judge.find(base=base)
    with_it = propose(base, made.all)
    without = whole(b"app", made.all, Options(), judge)
    assert with_it.text != without.text
    assert compare(judge.gate().subjects(without.text), judge.gate().subjects(with_it.text)) == ()


def test_evidence_stays_behind_the_include(tmp_path: Path) -> None:
    made = several()
    proposal = propose(base_of(tmp_path, small=rules()), made.all)
    (ground,) = grounds(proposal.synthesis, made.all)
    assert (ground.rule, ground.kind, ground.accesses) == ("include <abstractions/small>", "include", len(NAMES))


@pytest.mark.parametrize("count", [LEAST - 1, LEAST])
def test_it_must_save_enough_rules(tmp_path: Path, count: int) -> None:
    proposal = propose(base_of(tmp_path, small=rules()), needs("/etc/one", *paths(count)).all)
    assert measure(proposal, "small").saves == count
    if count < LEAST:
        assert refused(proposal, "small") == "saves 4 rules, fewer than 5"
    else:
        assert included(proposal) == ["include <abstractions/small>"]


def paths(count: int) -> list[str]:
    return [f"/opt/app/{name}" for name in NAMES[:count]]


@pytest.mark.parametrize(
    ("mask", "count", "offered"), [("r", 33, True), ("r", 34, False), ("w", 1, True), ("w", 2, False), ("rw", 1, True)]
)
def test_what_it_opens_must_cost_less(tmp_path: Path, mask: str, count: int, offered: bool) -> None:
    files = [f"/srv/n{at}" for at in range(count)]
    text = rules(count=LEAST) + "".join(f"{file} {mask},\n" for file in files)
    proposal = propose(base_of(tmp_path, small=text), several(count=LEAST).all, [*files, "/srv/other", *paths(LEAST)])
    found = measure(proposal, "small")
    assert (found.opens_read, found.opens_write) == (count if "r" in mask else 0, count if "w" in mask else 0)
    assert found.offered is offered
    if not offered:
        assert "(first: /srv/n0), which costs" in refused(proposal, "small")
    assert proposal.proof.proved


def test_what_the_profile_permits_already_costs_nothing(tmp_path: Path) -> None:
    text = rules(count=LEAST) + "/srv/a w,\n/srv/b w,\n"
    made = several(count=LEAST)
    made.all += needs("/srv/a", "/srv/b", mask="w").all
    proposal = propose(base_of(tmp_path, small=text), made.all, ["/srv/a", "/srv/b"])
    assert (measure(proposal, "small").saves, measure(proposal, "small").opens_write) == (LEAST + 2, 0)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("/etc/shadow r,", "opens password hashes and privileges (r on /etc/shadow)"),
        ("owner /root/** rw,", "opens root's home (r on /root/"),
        ("/usr/bin/tool ix,", "executes what was never executed (x on /usr/bin/tool)"),
        ("/srv/drop/* rwm,", "may write and then execute (wm on /srv/drop/"),
        ("/opt/app/run w,", "may write and then execute (wm on /opt/app/run)"),
        ("capability sys_admin,", "brings capability sys_admin"),
        ("network inet stream,", "brings network "),
        ("signal send set=(term) peer=other,", "brings signal send term peer other"),
        ("ptrace read peer=other,", "brings ptrace read peer other"),
        ("dbus send bus=system,", "brings dbus send bus=system"),
        ("mount fstype=tmpfs -> /mnt/,", "brings mount "),
        ("link /opt/app/alpha.conf -> /opt/x,", "brings link /opt/app/alpha.conf -> /opt/x"),
        ("deny /opt/no r,", "holds deny rules"),
        ("deny capability sys_admin,", "holds deny rules"),
        ("audit deny /opt/app/run m,", "takes away what the profile permits"),
        ("/opt/app/run Px,", "does not compile in this profile"),
    ],
)
def test_nothing_else_comes_with_it(tmp_path: Path, more: str, why: str) -> None:
    made = several(count=LEAST)
    made.file("/opt/app/run", "m")
    if "Px" in more:
        made.exec("/opt/app/run")
    proposal = propose(base_of(tmp_path, small=rules(count=LEAST) + more + "\n"), made.all)
    assert why in refused(proposal, "small")


def test_withheld_rules_stay_withheld(tmp_path: Path) -> None:
    made = several(count=LEAST)
    made.file("/proc/sysrq-trigger", "w")
    proposal = propose(base_of(tmp_path, small=rules(count=LEAST) + "/proc/sysrq-trigger w,\n"), made.all)
    assert proposal.synthesis.withheld
    refused(proposal, "small")


def test_rules_that_wait_for_a_person_are_not_hidden_in_one(tmp_path: Path) -> None:
    made = several(count=LEAST - 1)
    made.file(f"/opt/app/{NAMES[LEAST]}", runs=(1,))
    proposal = propose(base_of(tmp_path, small=rules()), made.all)
    assert [one.rule for one in proposal.synthesis.review] == [f"/opt/app/{NAMES[LEAST]} r,"]
    assert proposal.abstractions == ()


def test_the_best_comes_first_and_the_others_are_measured_beside_it(tmp_path: Path) -> None:
    base = base_of(
        tmp_path,
        all=rules() + "/srv/x r,\n",
        alike=rules() + "/srv/x r,\n",
        fewer=rules(count=6),
        apart=rules("/opt/other", LEAST),
    )
    made = several()
    made.all += several("/opt/other", LEAST).all
    proposal = propose(base, made.all, ["/srv/x"])
    assert included(proposal) == ["include <abstractions/alike>", "include <abstractions/apart>"]
    assert refused(proposal, "all") == "saves no rule"
    assert refused(proposal, "fewer") == "saves no rule"
    dear = propose(base, made.all, ["/srv/x", *(f"/srv/{at}" for at in range(9))])
    assert dear.text == proposal.text


def test_more_than_a_refused_one_is_refused(tmp_path: Path) -> None:
    base = base_of(tmp_path, small=rules() + "/etc/shadow r,\n", large=rules() + "/etc/shadow r,\n/srv/x r,\n")
    proposal = propose(base, several().all)
    assert refused(proposal, "large") == "permits all of abstractions/small, which is refused"
    assert "password hashes" in refused(proposal, "small")


def test_generalised_rules_must_be_covered_as_a_whole(tmp_path: Path) -> None:
    made = several(count=LEAST - 1)
    for pid in range(20, 30):
        made.file(f"/proc/{pid}/stat")
    part, whole_rule = "/proc/2[0-9]/stat r,\n", "@{PROC}/@{pid}/stat r,\n"
    proposal = propose(
        base_of(tmp_path, part=rules(count=LEAST - 1) + part, all=rules(count=LEAST - 1) + whole_rule), made.all
    )
    assert measure(proposal, "all").saves == LEAST
    assert included(proposal) == ["include <abstractions/all>"]


def test_sockets_are_compared_to_the_last_condition(tmp_path: Path) -> None:
    made = several(count=LEAST)
    fields = {"family": "unix", "sock_type": "stream", "protocol": "0", "peer": "one", "peer_addr": "@one"}
    made.add("connect", (1, 2), None, class_="net", requested_mask="connect", denied_mask="connect", **fields)
    rule = 'unix connect type=stream peer=(addr="@%s", label=%s),\n'
    proposal = propose(base_of(tmp_path, other=rules(count=LEAST) + rule % ("other", "other")), made.all)
    assert refused(proposal, "other") == "brings sockets by address or label that nothing used"
    assert measure(proposal, "other").saves == LEAST


def test_rules_of_all_kinds_can_be_saved(tmp_path: Path) -> None:
    made = needs("/etc/one")
    asked = [
        ("create", {"class_": "net", "family": "inet", "sock_type": "stream", "protocol": "6", "mask": "create"}),
        ("capable", {"class_": "cap", "capability": "10", "capname": "net_bind_service", "mask": ""}),
        ("ptrace", {"class_": "ptrace", "peer": "other", "mask": "read"}),
        ("signal", {"class_": "signal", "signal": "term", "peer": "other", "mask": "send"}),
    ]
    for operation, fields in asked:
        mask = fields.pop("mask")
        masks = {"requested_mask": mask, "denied_mask": mask} if mask else {}
        made.add(operation, (1, 2), None, **fields, **masks)
    text = "network inet stream,\ncapability net_bind_service,\nptrace read peer=other,\n/etc/one r,\n"
    text += "signal send set=(term) peer=other,\n"
    proposal = propose(base_of(tmp_path, small=text), made.all)
    assert included(proposal) == ["include <abstractions/small>"]
    assert measure(proposal, "small").saves == LEAST
    assert proposal.proof.proved, proposal.proof.failures


def test_the_name_of_the_profile_is_the_real_one(tmp_path: Path) -> None:
    made = several(count=LEAST)
    made.add("signal", class_="signal", signal="term", peer="app", requested_mask="send", denied_mask="send")
    made.add("signal", class_="signal", signal="term", peer="app", requested_mask="receive", denied_mask="receive")
    text = rules(count=LEAST) + "signal (send, receive) set=(term) peer=@{profile_name},\n"
    proposal = propose(base_of(tmp_path, small=text), made.all)
    assert included(proposal) == ["include <abstractions/small>"]
    assert "signal" not in proposal.text
    assert proposal.proof.proved


def test_children_are_measured_by_themselves(tmp_path: Path) -> None:
    made = several("/srv/top", LEAST)
    made.exec("/usr/bin/tool")
    for name in NAMES:
        made.file(f"/opt/app/{name}", profile="app//null-/usr/bin/tool")
    made.add(
        "capable", (1, 2), None, class_="cap", capability="12", capname="net_admin", profile="app//null-/usr/bin/tool"
    )
    proposal = propose(base_of(tmp_path, small=rules(), top=rules("/srv/top", LEAST)), made.all)
    assert proposal.proof.proved, proposal.proof.failures
    offered = {(one.block, one.name) for one in proposal.abstractions if one.offered}
    assert offered == {("app//tool", "small"), ("app", "top")}


def test_one_that_does_not_compile_is_told(tmp_path: Path) -> None:
    base = base_of(tmp_path, good=rules(), bad="@{NOWHERE}/x r,\n", worse="/x r\n}\nprofile y {\n")
    (base / "abstractions" / "a b").write_text(rules())
    (base / "abstractions" / "old.dpkg-old").write_text(rules())
    proposal = propose(base, several().all)
    assert included(proposal) == ["include <abstractions/good>"]
    assert "does not compile on its own" in refused(proposal, "bad")
    assert "does not compile on its own" in refused(proposal, "worse")
    assert "can't be written" in refused(proposal, "a b")
    assert "old.dpkg-old" not in {one.name for one in proposal.abstractions}


def test_a_base_without_abstractions_has_none(tmp_path: Path) -> None:
    base = base_of(tmp_path)
    (base / "abstractions").rmdir()
    assert propose(base, several().all).abstractions == ()


def test_the_order_of_events_does_not_matter(tmp_path: Path) -> None:
    base = base_of(tmp_path, small=rules(), alike=rules(), other=rules("/opt/other", LEAST))
    made = several()
    made.all += several("/opt/other", LEAST).all
    first = propose(base, made.all)
    for seed in range(3):
        shuffled = list(made.all)
        random.Random(seed).shuffle(shuffled)
        again = propose(base, shuffled)
        assert (again.text, again.abstractions, again.proof) == (first.text, first.abstractions, first.proof)


def test_containers_and_unknown_files_are_refused(tmp_path: Path) -> None:
    judge = Judge.find(base=base_of(tmp_path))
    synthesis = whole(b"app", several().all, Options(), judge).synthesis
    with pytest.raises(UsageError, match="container"):
        with_abstractions(synthesis, Options(container=True, population=Population()), judge)
    with pytest.raises(UsageError, match="--root"):
        with_abstractions(synthesis, Options(), judge)


SSL = [f"/etc/ssl/{name}" for name in NAMES]
LOGIN = ["/etc/pam.d/login", "/etc/pam.d/other", "/etc/securetty", "/etc/login.defs", "/etc/nologin", "/etc/pwdb.conf"]
NAMES_OF = ["/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/passwd", "/etc/services"]
LIBRARIES = ["/etc/ld.so.cache", "/etc/locale.alias", "/etc/localtime", "/dev/zero", "/proc/meminfo", "/proc/stat"]


@pytest.mark.parametrize(
    ("name", "accessed", "reasons"),
    [
        (
            "base",
            LIBRARIES,
            ("may write and then execute (wmx on /root/.Private/", "hidden files of users|root's home"),
        ),
        ("ssl_keys", SSL, ("opens keys and certificates' secrets (r on /etc/ssl/",)),
        ("authentication", LOGIN, ("opens password hashes and privileges (r on /etc/shadow)",)),
        ("nameservice", NAMES_OF, ("brings capability net_bind_service", "brings network ", "inet stream", "netlink")),
    ],
)
def test_debian_s_own(name: str, accessed: list[str], reasons: tuple[str, ...]) -> None:
    proposal = propose(DEBIAN, needs(*accessed).all)
    why = refused(proposal, name)
    assert measure(proposal, name).saves >= LEAST
    for reason in reasons:
        assert any(part in why for part in reason.split("|")), why
    assert included(proposal) == []
