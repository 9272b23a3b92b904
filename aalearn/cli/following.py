"""The watch of the service, made from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aalearn.cli.output import talk
from aalearn.model.errors import AalearnError

if TYPE_CHECKING:
    from aalearn.cli.face import Face
    from aalearn.lifecycle.judge import Judge
    from aalearn.lifecycle.limits import Limits
    from aalearn.lifecycle.watch import Watch


def limits(face: Face) -> Limits:
    """Return when a promotion is taken back by itself."""
    from aalearn.lifecycle.limits import Limits

    wanted = face.settings.promotion
    return Limits(
        denials=wanted.revert_denials,
        seconds=wanted.revert_seconds,
        probation=wanted.probation_seconds,
        unit_seconds=wanted.revert_unit_seconds,
        back_to=wanted.revert_to,
    )


def judge_here(face: Face) -> Judge | None:
    """Return what compiles for this node's kernel (elsewhere for the target of the settings); None where nothing can
    be compiled: then what other revisions permit is not known.
    """
    from aalearn.lifecycle.judge import Judge
    from aalearn.policy.loaded import NODE

    settings = face.settings
    features = NODE / "features"
    try:
        return Judge.find(settings.parser, features if features.is_dir() else settings.target, settings.base)
    except AalearnError as error:
        talk(f"aalearn: note: what earlier revisions permit can't be asked: {error}")
        return None


def watch(face: Face) -> Watch:
    """Return the follower that watches what is enforced, and asks aalearn-apply to take it back within the limits."""
    from aalearn.learn.options import Options
    from aalearn.lifecycle.node.client import Client
    from aalearn.lifecycle.permits import permits_by
    from aalearn.lifecycle.watch import Watch

    judge = judge_here(face)
    options = Options(target=judge.target) if judge else Options()
    client = Client(face.settings.promotion.apply_socket)
    permits = permits_by(judge) if judge else None
    return Watch(limits(face), client, options, node=face.settings.node, permits=permits)
