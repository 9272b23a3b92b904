"""From what stands at a place of the policy folder to the policy that the kernel gets for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from aalearn.grammar.profiles import read_profiles, set_complain
from aalearn.lifecycle.finding import Found, find
from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.node import files
from aalearn.model.errors import BadInput, PolicyError, UsageError
from aalearn.model.text import shown
from aalearn.policy.decoder import decode


@dataclass(frozen=True, slots=True)
class Whole:
    """A profile's whole text, with the content of its local file in it, and the file that it stands in.

    `place` is that of the whole file, whichever place was asked for.
    """

    text: str
    place: str

    def policy(self, judge: Judge, *, strict: bool = False) -> bytes:
        """Return the text compiled. Raises PolicyError."""
        compiled = judge.compile(self.text, strict=strict).compiled
        if compiled is None:
            raise PolicyError("the text gives no policy")
        return compiled.blob

    def all_in_complain_mode(self) -> "Whole":
        """Return the text with all of its profiles in complain mode, as a link in force-complain/ has them."""
        text = self.text
        for block in read_profiles(text).profiles:
            text = set_complain(text, block.path, True)
        return Whole(text, self.place)

    def as_applied(self, judge: Judge, profile: bytes, links: Mapping[str, str], mode: str) -> bytes:
        """Return the text compiled as it was in force: with links that led so, in complain mode where `mode` says that.

        A link in force-complain/ is not to be seen in the text. Raises PolicyError, UsageError.
        """
        written = self.all_in_complain_mode() if links.get(f"{files.COMPLAIN}/{self.place}") else self
        policy = written.policy(judge)
        if mode == "complain" and not any(one.complain for one in decode(policy) if one.name == profile):
            policy = written.in_mode(profile, complain=True).policy(judge)
        return policy

    def in_mode(self, profile: bytes, *, complain: bool) -> "Whole":
        """Return the text with the profile, its children and hats in complain mode, or in none. Raises UsageError."""
        return Whole(flagged(self.text, profile, complain=complain), self.place)


def flagged(text: str, profile: bytes, *, complain: bool) -> str:
    """Return the text with a profile, its children and hats in complain mode, or in none of it.

    Each block has a flag of its own (apparmor.d(5)). Raises UsageError when the text has no such profile, BadInput when
    it can't be understood.
    """
    return set_complain(text, spelled(text, profile), complain)


def spelled(text: str, profile: bytes) -> str:
    """Return the profile's name as the text spells it. Raises UsageError where the text does not define it."""
    name = profile.decode("utf-8", "surrogateescape")
    blocks = read_profiles(text).profiles
    if any(block.path == name for block in blocks):
        return name
    if len(blocks) == 1 and "@{" in blocks[0].path:
        return blocks[0].path
    raise UsageError(f"the text defines no profile {shown(profile)}")


def whole(judge: Judge, profile: bytes, place: str, content: bytes, own: bytes | None = None) -> Whole:
    """Return the whole text of a profile when `content` stands at `place`.

    Of a place in `local/` the profile's own file is read (or it is `own`), and its include replaced by the content.
    Raises UsageError when no such file includes it, or the content does not define the profile.
    """
    text = content.decode("utf-8", "surrogateescape")
    if not place.startswith(f"{files.LOCAL}/"):
        spelled(text, profile)
        return Whole(text, place)
    found = on_disk(judge, profile)
    around, block = found.text, found.block
    if own is not None:
        around = own.decode("utf-8", "surrogateescape")
        block = read_profiles(around).find(spelled(around, profile))
    include = next((one for one in block.includes if one.local == place), None)
    if include is None:
        raise UsageError(f"{shown(str(found.file))} does not include {shown(place)}")
    joined = f"{around[: include.at]}\n{text}{around[include.end :]}"
    return Whole(joined, found.file.name)


def on_disk(judge: Judge, profile: bytes) -> Found:
    """Return the profile's own file. Raises UsageError when there is none."""
    base = judge.base
    if base is None:
        raise UsageError("the policy folder is not known")
    try:
        found, _ = find(profile, base, judge)
    except BadInput as error:
        raise UsageError(str(error)) from error
    if found is None:
        raise UsageError(f"no file in {shown(str(base))} defines the profile {shown(profile)}")
    return found
