"""Proving a revision again, when it shall be enforced: the stored proof is another's word. Pure but for the parser.

And what it permits beyond a profile that is made now, from the evidence and the decisions that count.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from aalearn.learn.options import Options
from aalearn.learn.synthesis import Synthesis
from aalearn.lifecycle.judge import Judge, Loaded
from aalearn.lifecycle.node.machine import is_of
from aalearn.lifecycle.proposal import vouched
from aalearn.lifecycle.replay import Fate, Replay, Reply
from aalearn.model.event import Access
from aalearn.model.text import shown
from aalearn.policy.compare import covered, extra, lost_attachment, silenced
from aalearn.policy.decoder import BinaryProfile, Mode
from aalearn.policy.gate import Question, prove, subjects
from aalearn.policy.proof import Proof

# What reaches another file: the line must be one of the fresh text's, or a later boot would read what it likes.
_REACHES: Final = re.compile(r"include|\babi\b")
_PLAIN_ABI: Final = re.compile(r"abi <abi/[34]\.0>,")  # which features count is told by the policy itself


@dataclass(frozen=True, slots=True)
class Beyond:
    """What a text permits more than a fresh one, or hides, in words. `within`: surely nothing. `unknown`: why nobody
    can tell. `loose`: why programs that a fresh one confines would run out of its reach altogether.
    """

    more: tuple[str, ...] = ()
    within: bool = False
    unknown: str = ""
    loose: tuple[str, ...] = ()


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
    """Return what a text, compiled to `made`, permits beyond a fresh text and its policy, both for the same target.

    A mode that does not enforce, a program that it attaches to no more, and denials that the kernel would not log are
    more too: what they let pass, or hide, no permission shows.
    """
    before, after = subjects(fresh), made.subjects()
    raw = {one.name: one for one in Loaded.of(fresh).profiles}
    within, more, loose = True, [], []
    for name in sorted(after):
        base = before.get(name)
        found = [str(grant) for grant in extra(after[name], base)]
        if base is None:
            found = ["a block of its own", *found]
        elif not covered(after[name], base):
            found = found or ["sockets by address or label, or another thing that words do not tell"]
        if base is not None:
            lost = [f"it does not attach to {grant.object} any more" for grant in lost_attachment(after[name], base)]
            loose += [f"{shown(name)}: {one}" for one in lost if not after[name].attaches_to_any]
            found += [*lost, *map(str, silenced(after[name], base))]
        more += [f"{shown(name)}: {one}" for one in found]
        within &= base is not None and not found
    for one in made.profiles:
        more += [f"{shown(one.name)}: {why}" for why in _header(one, raw.get(one.name))]
    known = {line.strip() for line in fresh_text.splitlines()}
    for line in text.splitlines():
        if _REACHES.search(line) and line.strip() not in known and not _PLAIN_ABI.fullmatch(line.strip()):
            more.append(f"another file, or a line that looks so: {shown(line.strip())}")
    return Beyond(tuple(dict.fromkeys(more)), within and not more, loose=tuple(loose))


def unenforced(made: Loaded, profile: bytes | None = None) -> tuple[str, ...]:
    """Return the blocks whose mode is not enforce, in words: what such a block forbids the kernel may let pass.

    Of a `profile` they are its own, its children and hats: others of its file keep the mode that their owner gave them.
    """
    return tuple(
        f"{shown(one.name)} is in {'complain' if one.complain else one.mode.name.lower()} mode"
        for one in made.profiles
        if (one.mode is not Mode.ENFORCE or one.complain) and (profile is None or is_of(one.name, profile))
    )


def _header(one: BinaryProfile, fresh: BinaryProfile | None) -> list[str]:
    """Return how a block's header weakens it, beside a fresh block's."""
    same_mode = fresh is not None and (one.mode, one.complain) == (fresh.mode, fresh.complain)
    enforced = one.mode is Mode.ENFORCE and not one.complain
    found = [] if enforced or same_mode else [f"{one.mode.name.lower()} mode"]
    known = fresh or BinaryProfile(one.name, one.abi, hat=one.hat)
    flags = (one.path_flags or 0) & ~(known.path_flags or 0)
    marks = set(one.secmark or ()) - set(known.secmark or ())
    same = (one.disconnected, one.hat, one.kill, one.error) == (known.disconnected, known.hat, known.kill, known.error)
    if flags or marks or one.namespace or not same:
        found.append("flags that weaken it")
    if one.xattrs != known.xattrs:
        found.append("it attaches by other extended attributes")
    if one.capabilities.quiet & ~known.capabilities.quiet or _more_sockets(one, known):
        found.append("capabilities that are denied without a record, or sockets by the masks of old kernels")
    return found


def _more_sockets(one: BinaryProfile, known: BinaryProfile) -> bool:
    """Return whether the masks that old targets have for sockets permit, or silence, more in one than in the other."""
    pairs = zip_longest(one.network or (), known.network or (), fillvalue=(0, 0, 0))
    return any(allow & ~other[0] or quiet & ~other[2] for (allow, _, quiet), other in pairs)
