"""When learning is finished: coverage, what the next run brings, losses, one sentence."""

from aalearn.learn.convergence import DAY, converge, waiting
from aalearn.learn.gate import Gate
from aalearn.learn.options import Action, Decision
from aalearn.learn.synthesis import Synthesis
from aalearn.model.event import Verdict
from aalearn.model.loss import Loss
from aalearn.model.nodes import canonical
from tests.learn.accesses import Made
from tests.learn.conftest import learn

START = 1_763_424_000_000  # 2025-11-18, a Tuesday


def window(runs: int, once: int = 0) -> Made:
    made = Made()
    for number in range(5):
        made.file(f"/etc/common{chr(97 + number)}", runs=range(1, runs + 1), first=START)
    for number in range(once):
        made.file(f"/etc/single{chr(97 + number)}", runs=(runs,), first=START)
    return made


def test_ready_when_nothing_new_comes() -> None:
    made = window(24)
    found = converge(learn(made.all), made.all, now=START + 3 * DAY)
    assert found.ready
    assert found.coverage == 1.0
    assert found.at_most == 3 / 24
    assert found.sentence == "ready: 5 rules hold over 24 runs"


def test_so_many_more_runs() -> None:
    made = window(17)
    found = converge(learn(made.all), made.all, now=START + 3 * DAY)
    assert not found.ready
    assert found.sentence == "ready in about 3 more runs: 17 runs of 20"


def test_single_rules_lower_the_coverage() -> None:
    made = window(20, once=4)
    found = converge(learn(made.all), made.all, now=START + 3 * DAY)
    assert found.seen_once == 4
    assert found.coverage == 1 - 4 / 104
    assert found.new_rules == 4 / 20
    assert found.unseen == 6
    assert "more runs" in found.sentence


def test_losses_are_said_with_their_day() -> None:
    made = window(24)
    losses = [
        Loss(START + at, "node", kind)
        for at, kind in ((1000, "callbacks suppressed"), (2000, "backlog"), (-DAY, "old"))
    ]
    found = converge(learn(made.all), made.all, losses, START + 3 * DAY)
    assert len(found.incomplete) == 2
    assert found.sentence.startswith("not ready: 2 losses on Tuesday 2025-11-18 (backlog, callbacks suppressed)")


def test_losses_summed_up_by_day_count_where_their_time_meets_the_window() -> None:
    made = window(24)
    day = Loss(START - DAY // 2, "node", "backlog", 2000, "", START + 1000, 3)
    before = Loss(START - DAY, "node", "old", 1, "", START - 1, 2)
    found = converge(learn(made.all), made.all, [day, before], START + 3 * DAY)
    assert found.incomplete == (day,)
    assert "3 losses on Tuesday 2025-11-18 (backlog)" in found.sentence


def test_a_loss_after_now_happened_too() -> None:
    made = window(24)
    later = Loss(START + 4 * DAY, "node", "later")
    assert converge(learn(made.all), made.all, [later], START + 3 * DAY).incomplete == (later,)


def test_a_new_rule_lately_and_risks_and_nodes() -> None:
    made = window(24)
    made.add("capable", runs=range(1, 25), capname="sys_admin", capability="21", first=START, class_="cap")
    found = converge(learn(made.all), made.all, now=START + DAY // 2, gate=Gate(nodes=2))
    assert found.reasons == (
        "the last new rule came 12 hours ago",
        "1 node of 2",
        "1 rule waits for review",
    )
    assert found.rules == 5  # capabilities are no species


def test_what_is_no_evidence_counts_for_nothing() -> None:
    made = window(3, once=1)
    before = converge(learn(made.all), made.all, now=START + 3 * DAY)
    for run in range(4, 41):
        made.file(f"/etc/denied{run}", verdict=Verdict.DENIED, runs=(run,), first=START, nodes=(f"other-{run}",))
    found = converge(learn(made.all), made.all, now=START + 3 * DAY)
    assert (found.runs, found.nodes, found.new_rules) == (before.runs, before.nodes, before.new_rules) == (3, 1, 1 / 3)


def test_a_node_s_two_names_are_one_node() -> None:
    assert canonical(["web-1", "web-1.example.org", "web-2.example.org", "web-10", "a.b", "a.b.c"]) == {
        "web-1": "web-1",
        "web-1.example.org": "web-1",
        "web-2.example.org": "web-2.example.org",
        "web-10": "web-10",
        "a.b": "a.b",
        "a.b.c": "a.b",
    }
    two = ["web-1.example.org", "web-1.example.com"]
    assert canonical(two) == dict(zip(two, two, strict=True))
    made = window(24)
    made.file("/etc/again", runs=range(1, 25), first=START, nodes=("node", "node.example.org"))
    found = converge(learn(made.all), made.all, now=START + 3 * DAY, gate=Gate(nodes=2))
    assert found.reasons == ("1 node of 2",)


def test_a_withheld_rule_waits_whatever_its_tier() -> None:
    made = window(24)
    for process in range(1, 25):
        made.file(f"/proc/{1000 + process}/maps", runs=(process,), first=START)
    synthesis = learn(made.all)
    assert [(one.tier, one.active) for one in (*synthesis.withheld, *synthesis.review)] == [(3, False)]
    assert converge(synthesis, made.all, now=START + 3 * DAY).reasons == ("1 rule waits for review",)
    ids = {at for rule, found in synthesis.evidence.items() if "maps" in rule for at in found}
    assert (len(waiting(synthesis, ids)), waiting(synthesis, set())) == (1, [])


def test_nothing_learned() -> None:
    assert converge(learn([]), []).sentence == "not ready: nothing has been learned"


def decided(made: Made, action: Action, *rules: str) -> Synthesis:
    return learn(made.all, decisions=tuple(Decision(rule, action, "ann", START, "looked at") for rule in rules))


def test_what_a_person_accepted_waits_for_no_further_run() -> None:
    made = window(24)
    made.file("/etc/lately", runs=(24,), first=START + 3 * DAY)
    before = converge(learn(made.all), made.all, now=START + 3 * DAY)
    assert (before.seen_once, before.quiet_days, before.ready) == (1, 0.0, False)
    after = converge(decided(made, Action.ACCEPT, "/etc/lately r,"), made.all, now=START + 3 * DAY)
    assert (after.rules, after.seen_once, after.coverage, after.quiet_days) == (6, 0, 1.0, 3.0)
    assert after.ready
    assert converge(decided(made, Action.OWNER, "/etc/lately r,"), made.all, now=START + 3 * DAY).ready


def test_what_a_person_denied_is_no_rule() -> None:
    made = window(24)
    made.file("/etc/lately", runs=(24,), first=START + 3 * DAY)
    made.file("/etc/shadow", runs=range(1, 25), first=START)
    waits = converge(learn(made.all), made.all, now=START + 3 * DAY)
    assert waits.waiting == 1
    found = converge(decided(made, Action.DENY, "/etc/lately r,", "/etc/shadow r,"), made.all, now=START + 3 * DAY)
    assert (found.rules, found.waiting, found.ready) == (5, 0, True)


def test_a_window_in_which_all_was_accepted_is_quiet_since_it_began() -> None:
    made = Made()
    made.file("/etc/one", runs=(1,), first=START)
    found = converge(decided(made, Action.ACCEPT, "/etc/one r,"), made.all, now=START + DAY // 2)
    assert (found.coverage, found.quiet_days) == (1.0, 0.5)
    assert found.reasons == ("1 run of 20", "the last new rule came 12 hours ago")


def test_an_accepted_rule_of_tier_1_still_waits() -> None:
    made = window(24)
    made.add("capable", runs=(1,), capname="sys_admin", capability="21", first=START, class_="cap")
    rule = "capability sys_admin,"
    assert converge(decided(made, Action.ACCEPT, rule), made.all, now=START + 3 * DAY).waiting == 1
    assert converge(decided(made, Action.APPROVE, rule), made.all, now=START + 3 * DAY).waiting == 0
