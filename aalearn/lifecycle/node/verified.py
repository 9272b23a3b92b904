"""What the kernel must show after a load: the very bytes, each profile in its mode, and a promotion enforced. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from aalearn.lifecycle.judge import top
from aalearn.model.errors import PolicyError
from aalearn.model.text import shown
from aalearn.policy.decoder import BinaryProfile, Mode, decode
from aalearn.policy.loaded import Loaded

_MODES: Final = {Mode.ENFORCE: "enforce", Mode.COMPLAIN: "complain", Mode.KILL: "kill", Mode.UNCONFINED: "unconfined"}


def tops(policy: bytes | None) -> set[bytes]:
    """Return the names of the profiles in compiled policy that are no children or hats: a load replaces all of them."""
    return set(top(tuple(modes(policy))))


def verify(loaded: Sequence[Loaded], policy: bytes) -> None:
    """Do nothing when the kernel runs the very bytes of the policy, in its modes. Raises PolicyError."""
    there = {one.name: one for one in loaded}
    for name, mode in modes(policy).items():
        found = there.get(name)
        if found is None:
            raise PolicyError(f"the kernel does not show {shown(name)} as loaded")
        if found.blob is not None and not found.is_made_of(policy):
            raise PolicyError(f"the kernel runs another policy for {shown(name)} than was loaded ({found.sha256[:16]})")
        if mode and found.mode != mode:
            raise PolicyError(f"{shown(name)} is in {shown(found.mode)} mode and should be in {mode} mode")


def modes(policy: bytes | None) -> Mapping[bytes, str]:
    """Return the mode of each profile of compiled policy in the kernel's words, "" where those vary by kernel."""
    return {one.name: _mode(one) for one in decode(policy)} if policy else {}


def _mode(profile: BinaryProfile) -> str:
    return "complain" if profile.complain else _MODES.get(profile.mode, "")


def enforced(loaded: Sequence[Loaded], policy: bytes) -> None:
    """Do nothing when the kernel enforces a profile that is promoted, with its children and hats. Raises PolicyError.

    Flags of a text (unconfined, kill, default_allow, complain in a child) make another mode of it than was promised.
    """
    names = set(modes(policy))
    for one in loaded:
        if one.name in names and one.mode != "enforce":
            why = f"the kernel has {shown(one.name)} in {shown(one.mode)} mode by its text, and it should be enforced"
            raise PolicyError(why)
