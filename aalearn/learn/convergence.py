"""When is learning finished: coverage of the window, what the next run will bring, and what keeps it from being ready.

The sampling unit is a run (one process start on one node), the species is a *generalised* rule: raw events never
converge. Q1 and Q2 are the rules seen in exactly one and two runs, n the sum of runs over rules (generalise-and-risk
§3). Capabilities stay out: the kernel logs each only once a CPU, so their frequency means nothing. A rule that a person
accepted waits for no further run, however few it was seen in; one that a person denied is no rule of the profile.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil

from aalearn.learn.gate import Gate as Gate  # promote takes both from here
from aalearn.learn.review import Judged
from aalearn.learn.synthesis import Synthesis, Waiting, key
from aalearn.model.event import Access
from aalearn.model.loss import Loss
from aalearn.model.nodes import canonical
from aalearn.model.text import shown

DAY = 86_400_000  # milliseconds


@dataclass(frozen=True, slots=True)
class Convergence:
    """The state of a learning window. Times in ms since the epoch (0: none); `quiet_days` since the last new rule that
    no person has accepted (since the window's begin where there is none).

    `coverage` is 1 - Q1/n (Good and Turing), `new_rules` = Q1/runs is what the next run is expected to bring, `at_most`
    is the 95 % bound on new rules a run where none was new in the last runs (rule of three; None when some were),
    `unseen` Chao's lower bound of rules not seen yet. `incomplete` are the losses inside the window. `reasons` say what
    keeps it from being ready; `sentence` says it all in one.
    """

    runs: int
    nodes: int
    rules: int
    seen_once: int
    seen_twice: int
    coverage: float
    new_rules: float
    at_most: float | None
    unseen: float
    first: int
    last: int
    last_new: int
    quiet_days: float
    waiting: int
    incomplete: tuple[Loss, ...]
    reasons: tuple[str, ...]
    sentence: str

    @property
    def ready(self) -> bool:
        """Whether nothing keeps the profile from being promoted."""
        return not self.reasons


def converge(
    synthesis: Synthesis,
    accesses: Sequence[Access],
    losses: Iterable[Loss] = (),
    now: int = 0,
    gate: Gate | None = None,
) -> Convergence:
    """Return how far learning has come.

    `accesses` are those that the synthesis was made from; only those that are evidence count as runs and nodes. `now`
    is the current time in ms (0: the last event's). Losses outside the window (from the first event on) do not count.
    """
    gate = gate or Gate()
    known = {access.id: access for access in accesses}
    rules = [rule for rule in synthesis.judged if rule.rule.kind != "capability" and not rule.denied]
    seen = [found for found in (_species(rule, synthesis, known) for rule in rules) if found.runs]
    counted = [access for access in accesses if access.id in synthesis.counted]
    once = sum(found.runs == 1 and not found.settled for found in seen)
    twice = sum(found.runs == 2 and not found.settled for found in seen)
    incidences = sum(found.runs for found in seen)
    known_runs = {run for access in counted for run in access.runs}
    runs = max((len(known_runs), *(access.run_count for access in counted)))
    first = begun(accesses)
    last = max((access.last for access in accesses), default=0)
    last_new = max((found.first for found in seen if not found.settled), default=first)
    end = max(now, last)
    incomplete = inside(losses, first)
    made = Convergence(
        runs=runs,
        nodes=len(set(canonical(node for access in counted for node in access.nodes).values())),
        rules=len(seen),
        seen_once=once,
        seen_twice=twice,
        coverage=1 - once / incidences if incidences else 0.0,
        new_rules=once / runs if runs else 0.0,
        at_most=3 / runs if runs and not once else None,
        unseen=once * once / (2 * twice) if twice else once * (once - 1) / 2,
        first=first,
        last=last,
        last_new=last_new,
        quiet_days=(end - last_new) / DAY if last_new else 0.0,
        waiting=len(waiting(synthesis)),
        incomplete=incomplete,
        reasons=(),
        sentence="",
    )
    return _with_words(made, gate)


def waiting(synthesis: Synthesis, refused: Container[int] | None = None) -> list[Waiting]:
    """Return the rules that a person has to look at first: those of tier 1 or 2, and all that are withheld.

    What a person denied is settled. `refused`: ids of the accesses that the text at hand denies, where they are known;
    what it permits all the same (a file that others answer for) waits only for its tier.
    """
    found = [one for one in synthesis.review if one.tier in (1, 2)]
    for one in synthesis.withheld:
        rests_on = synthesis.evidence.get(key(one.block, one.rule), ())
        if not one.denied and (one.tier in (1, 2) or refused is None or any(at in refused for at in rests_on)):
            found.append(one)
    return found


def begun(accesses: Iterable[Access]) -> int:
    """Return the first moment (ms) of which accesses tell, 0 where none does."""
    return min((access.first for access in accesses if access.first), default=0)


def inside(losses: Iterable[Loss], first: int) -> tuple[Loss, ...]:
    """Return the losses from a window's first moment (ms) on, sorted."""
    return tuple(sorted(loss for loss in losses if loss.since(first)))


@dataclass(frozen=True, slots=True)
class _Seen:
    runs: int
    first: int
    settled: bool


def _species(rule: Judged, synthesis: Synthesis, known: dict[int, Access]) -> _Seen:
    top = synthesis.document.profile.name
    label = f"{top}//{rule.block.removeprefix('^')}" if rule.block else top
    ids = synthesis.evidence.get(key(label, rule.rule.text()), ())
    accesses = [known[number] for number in ids if number in known]
    runs = max([len(rule.draft.runs), *(access.run_count for access in accesses)], default=0)
    return _Seen(runs, min((access.first for access in accesses), default=0), rule.settled)


def _with_words(found: Convergence, gate: Gate) -> Convergence:
    reasons = tuple(_reasons(found, gate))
    return replace(found, reasons=reasons, sentence=_sentence(found, gate, reasons))


def _reasons(found: Convergence, gate: Gate) -> Iterable[str]:
    if not found.rules:
        yield "nothing has been learned"
        return
    if found.incomplete:
        yield _losses(found.incomplete)
    if found.runs < gate.runs:
        yield f"{_count(found.runs, 'run')} of {gate.runs}"
    if found.coverage < gate.coverage:
        yield f"coverage {_percent(found.coverage)} of {_percent(gate.coverage)}"
    if found.new_rules >= gate.new_rules_a_run:
        yield f"{found.new_rules:.2f} new rules expected in the next run"
    if found.quiet_days < gate.quiet_days:
        yield f"the last new rule came {_ago(found.quiet_days)}"
    if found.nodes < gate.nodes:
        yield f"{_count(found.nodes, 'node')} of {gate.nodes}"
    if found.waiting:
        yield f"{_count(found.waiting, 'rule')} {'waits' if found.waiting == 1 else 'wait'} for review"


def _sentence(found: Convergence, gate: Gate, reasons: Sequence[str]) -> str:
    if not reasons:
        return f"ready: {_count(found.rules, 'rule')} hold over {_count(found.runs, 'run')}"
    if found.incomplete or not found.rules:
        return "not ready: " + "; ".join(reasons)
    more = _more_runs(found, gate)
    if more and not found.waiting:
        return f"ready in about {_count(more, 'more run')}: " + "; ".join(reasons)
    return "not ready: " + "; ".join(reasons)


def _more_runs(found: Convergence, gate: Gate) -> int:
    """Return how many further runs like these would satisfy the gate, if none of them brings a new rule that stays
    alone.

    Each further run adds about the average number of incidences, and sees a part of the single rules again.
    """
    if not found.runs:
        return 0
    more = max(0, gate.runs - found.runs)
    if found.new_rules >= gate.new_rules_a_run:
        more = max(more, ceil(found.seen_once / gate.new_rules_a_run) - found.runs) if found.seen_once else more
    if found.coverage < gate.coverage and found.seen_once:
        each = found.seen_once / (1 - found.coverage) / found.runs  # incidences a run
        more = max(more, ceil(found.seen_once / (1 - gate.coverage) / each) - found.runs)
    return more


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _losses(losses: Sequence[Loss]) -> str:
    times = sorted(max(loss.time, loss.until) for loss in losses if loss.time)
    kinds = sorted({loss.kind for loss in losses})
    on = ""
    if times:
        moment = datetime.fromtimestamp(times[-1] / 1000, UTC)
        on = f" on {_DAYS[moment.weekday()]} {moment:%Y-%m-%d}"
    return f"{_count(sum(loss.times for loss in losses), 'loss')}{on} ({', '.join(shown(kind) for kind in kinds)})"


def _count(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{number} {what if number == 1 else plural}"


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _ago(days: float) -> str:
    if days >= 2:
        return f"{days:.0f} days ago"
    return f"{days * 24:.0f} hours ago" if days >= 1 / 24 else "just now"
