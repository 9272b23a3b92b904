"""What an existing profile lacks of what was learned: the accesses that its own automaton denies, and their rules."""

from collections.abc import Sequence
from dataclasses import replace

from aalearn.learn.labels import Way, context
from aalearn.learn.options import Options
from aalearn.learn.synthesis import Learned, Synthesis, synthesize
from aalearn.lifecycle.replay import Fate, Replay, Reply
from aalearn.model.event import Access
from aalearn.model.label import NULL
from aalearn.policy.ask.base import Subject
from aalearn.policy.oracle import Oracle

_ROUNDS = 4  # of leaving out what the profile permits already; each leaves less, and two are usual


def lacking(
    name: bytes, accesses: Sequence[Access], options: Options, subjects: dict[bytes, Subject]
) -> tuple[Synthesis, tuple[Reply, ...]]:
    """Return the synthesis of what the profile `name` denies, and its replies to all that was learned.

    The synthesis' document holds the lacking rules only, by block; blocks that it names and the policy lacks are new.
    """
    replay = Replay(name, subjects)
    replies = replay.replies(name, accesses, options)
    wanted = [_as_met(name, reply) for reply in replies if reply.fate in (Fate.DENIED, Fate.AFTER)]
    synthesis = synthesize(name, wanted, options)
    for _ in range(_ROUNDS):
        permitted = _permitted(synthesis.learned, subjects)
        if not permitted:
            break
        wanted = [access for access in wanted if access.id not in permitted]
        synthesis = synthesize(name, wanted, options)
    return synthesis, replies


def _as_met(name: bytes, reply: Reply) -> Access:
    """Return an access with the label of the block that denied it, so that learning puts its rules there."""
    access = reply.access
    if reply.fate is Fate.DENIED:
        target = access.event.get("target") if access.event.operation == "exec" else reply.event.get("target")
        return replace(access, event=reply.event.with_(target=target))
    steps = context(name, access.event.profile) or ()
    rest = (b"//" + step.name if step.way is Way.INNER else NULL + step.name for step in steps[reply.depth :])
    label = reply.stopped + b"".join(rest)
    return replace(access, event=access.event.with_(profile=label))


def _permitted(learned: Sequence[Learned], subjects: dict[bytes, Subject]) -> set[int]:
    """Return the accesses that the existing policy permits wherever learning would put them."""
    oracles = {label: Oracle.of(subject) for label, subject in subjects.items()}
    lacking_still: set[int] = set()
    for one in learned:
        oracle = oracles.get(one.event.profile)
        if oracle is None or not oracle.ask(one.event, one.access.owner).allowed:
            lacking_still.add(one.access.id)
    return {one.access.id for one in learned} - lacking_still
