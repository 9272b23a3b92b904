"""Proving a revision again, when it shall be enforced: the stored proof is another's word. Pure but for the parser.

And what it permits beyond a profile that is made now, from the evidence and the decisions that count.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aalearn.learn.options import Options
from aalearn.learn.synthesis import Synthesis
from aalearn.lifecycle.judge import Judge, Loaded
from aalearn.lifecycle.proposal import vouched
from aalearn.lifecycle.replay import Fate, Replay, Reply
from aalearn.model.event import Access
from aalearn.model.text import shown
from aalearn.policy.compare import covered, extra
from aalearn.policy.gate import Question, prove, subjects
from aalearn.policy.proof import Proof

# What reaches another file: the line must be one of the fresh text's, or a later boot would read what it likes.
_REACHES: Final = re.compile(r"include|\babi\b")
_PLAIN_ABI: Final = re.compile(r"abi <abi/[34]\.0>,")  # which features count is told by the policy itself


@dataclass(frozen=True, slots=True)
class Beyond:
    """What a text permits more than a fresh one, in words. `within`: surely nothing. `unknown`: why nobody can tell."""

    more: tuple[str, ...] = ()
    within: bool = False
    unknown: str = ""


def again(
    name: bytes,
    text: str,
    replies: Sequence[Reply],
    synthesis: Synthesis,
    options: Options,
    accesses: Sequence[Access],
    judge: Judge,
    *,
    baseline: str | None = None,
) -> Proof:
    """Return the proof of a whole text as it would be enforced.

    `replies` are the text's own to all that was learned; what it denies is not asked here (that is the gate `replay`).
    What waits for a person, or was refused by one, must be denied unless `baseline` permits it: the text of a file that
    others answer for. Raises PolicyError when it does not compile.
    """
    held: dict[int, bool] = {}
    for one in synthesis.learned:
        held[one.access.id] = held.get(one.access.id, True) and one.withheld
    theirs: set[int] = set()
    if baseline is not None:
        before = Replay(name, judge.compile(baseline, strict=False).subjects())
        theirs = {one.access.id for one in before.replies(name, accesses, options) if one.fate is Fate.ALLOWED}
    asked = [
        Question(
            block=one.event.profile.decode("utf-8", "surrogateescape"),
            event=one.event,
            owner=one.access.owner,
            count=one.access.count,
            sample=one.access.sample,
            withheld=held.get(one.access.id, False) and one.access.id not in theirs,
        )
        for one in replies
        if one.fate in (Fate.ALLOWED, Fate.UNPROVED)
    ]
    return prove(text, asked, judge.gate(strict=False), baseline=baseline, vouched=vouched(synthesis, options))


def beyond(text: str, made: Loaded, fresh_text: str, fresh: bytes) -> Beyond:
    """Return what a text, compiled to `made`, permits beyond a fresh text and its policy, both for the same target."""
    before, after = subjects(fresh), made.subjects()
    raw = {one.name: one for one in Loaded.of(fresh).profiles}
    within, more = True, []
    for name in sorted(after):
        base = before.get(name)
        found = [str(grant) for grant in extra(after[name], base)]
        if base is None:
            found = ["a block of its own", *found]
        elif not covered(after[name], base):
            found = found or ["sockets by address or label, or another thing that words do not tell"]
        more += [f"{shown(name)}: {one}" for one in found]
        within &= base is not None and not found
    for one in made.profiles:
        other = raw.get(one.name)
        flags = (one.path_flags or 0) & ~((other.path_flags or 0) if other else 0)
        marks = set(one.secmark or ()) - set((other.secmark or ()) if other else ())
        if (
            flags
            or marks
            or one.namespace
            or (other and (one.disconnected, one.hat) != (other.disconnected, other.hat))
        ):
            more.append(f"{shown(one.name)}: flags that weaken it")
    known = {line.strip() for line in fresh_text.splitlines()}
    for line in text.splitlines():
        if _REACHES.search(line) and line.strip() not in known and not _PLAIN_ABI.fullmatch(line.strip()):
            more.append(f"another file, or a line that looks so: {shown(line.strip())}")
    return Beyond(tuple(dict.fromkeys(more)), within and not more)
