"""What becomes of each program that a profile runs: ix, Px or Cx, with the reason (log-records §4, first that holds).

Never chosen: ux, Ux and their fallbacks, cux, a bare change_profile. A child profile has no children of its own: what a
child runs stays in the child. A compiled profile holds at most twelve named targets; beyond that the programs with the
least risk share one child.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aalearn.learn.labels import Context, Step, Way
from aalearn.learn.options import Options
from aalearn.learn.risk import assess, needs_child, system_read, written_folder
from aalearn.model.errors import NotExpressible
from aalearn.model.text import plain_name, shown
from aalearn.rules.base import Rule

FEW = 8  # so many rules more are "few": the program stays in the profile
SHARED = "others"  # the child of the programs beyond the limit of named targets


@dataclass(frozen=True, slots=True)
class Transition:
    """How one program is run: `mode` is "ix", "Px" or "Cx"; `child` is the child profile's name, for Cx."""

    path: bytes
    mode: str
    child: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision on every program that ran and on every hat: `block` says where an event's rules go."""

    profile: str
    ways: Mapping[bytes, Transition] = field(default_factory=dict)
    children: frozenset[bytes] = frozenset()
    missing: frozenset[bytes] = frozenset()  # profiles that a change_profile asked for and that are not loaded

    def block(self, context: Context) -> str | None:
        """Return the block of a context: "" for the profile, a child's name, `^` and a hat's name.

        None: it runs under another profile (Px, or change_profile to one that is not loaded). Raises NotExpressible
        for a hat whose name has no spelling.
        """
        block = ""
        for step in context:
            if block:
                continue  # children and hats have no children of their own
            if step.way is Way.EXEC:
                way = self.ways[step.name]
                if way.mode == "Px":
                    return None
                block = way.child
            elif step.name in self.missing:
                return None
            else:
                name = plain_name(step.name)
                block = name if step.name in self.children else "^" + name
        return block

    def label(self, block: str) -> bytes:
        """Return the whole name of a block, as the kernel will log it."""
        return (self.profile + ("//" + block.removeprefix("^") if block else "")).encode()

    def way(self, block: str, path: bytes) -> Transition:
        """Return how `path` is run from a block: inside a child or hat always by ix."""
        way = self.ways[path]
        if block and way.mode != "ix":
            return Transition(path, "ix", "", f"{_kind(block)} has no children of its own: it stays in it")
        return way


def _kind(block: str) -> str:
    return "a hat" if block.startswith("^") else "a child profile"


def plan(
    profile: str,
    needs: Mapping[Context, Sequence[Rule]],
    runs: Mapping[bytes, frozenset[str]],
    options: Options,
    inner: Mapping[bytes, bool],
    hats: frozenset[bytes],
) -> Plan:
    """Decide on every program.

    `needs` are the rules that each context needs by itself. `runs` maps each program that was run to what its records
    said besides ("no new privs", "ix fallback"). `inner` maps the names of hats and children that the text already had
    to whether they are children, `hats` are the names that change_hat asked for.
    """
    mine = tuple(needs.get((), ()))
    ways: dict[bytes, Transition] = {}
    apart: dict[bytes, tuple[int, str]] = {}
    for path in sorted(runs):
        theirs = [rule for context, rules in needs.items() if _last_exec(context) == path for rule in rules]
        decided = _decide(path, theirs, mine, runs[path], options)
        if isinstance(decided, Transition):
            ways[path] = decided
        else:
            apart[path] = decided
    taken = frozenset(inner)
    for transition in _children(apart, taken, options.max_children):
        ways[transition.path] = transition
    missing = {step.name for context in needs for step in context if step.way is Way.HAT} - hats
    return Plan(profile, ways, frozenset(name for name, child in inner.items() if child), frozenset(missing))


def _last_exec(context: Context) -> bytes | None:
    last: Step | None = context[-1] if context else None
    return last.name if last is not None and last.way is Way.EXEC else None


def _decide(
    path: bytes, theirs: Sequence[Rule], mine: Sequence[Rule], said: frozenset[str], options: Options
) -> Transition | tuple[int, str]:
    """Return the transition, or (risk, reason) when the program needs a child profile of its own."""
    if options.container:
        return Transition(path, "ix", "", "a container's programs share its profile")
    if "no new privs" in said:
        return Transition(path, "ix", "", "no_new_privs was set: only ix can work")
    for program, name in options.loaded:
        if program == path:
            return Transition(path, "Px", "", f"its own profile {shown(name)} is loaded on every target node")
    if not theirs:
        told = "ix fallback" in said
        why = "all of it was learned inside this profile" if told else "it needed nothing more than this profile"
        return Transition(path, "ix", "", why)
    more = sorted({rule for rule in theirs if not any(own.covers(rule) for own in mine)}, key=lambda r: r.sort_key())
    telling = [rule for rule in more if not system_read(rule, path)]
    shared = frozenset(folder for rule in mine if (folder := written_folder(rule)) is not None)
    for rule in telling:
        reason = needs_child(rule, shared)
        if reason:
            return min((assess(rule).tier or 5) for rule in telling), f"it {reason}, which this profile does not"
    own = [rule for rule in telling if written_folder(rule) is None]
    if len(own) <= FEW:
        count = f"{len(telling)} rules" if len(telling) != 1 else "one rule"
        return Transition(path, "ix", "", f"it adds {count} and no risk" if telling else "it adds no risk")
    return 5, f"it needs {len(own)} rules that this profile does not"


def _children(apart: Mapping[bytes, tuple[int, str]], taken: frozenset[bytes], limit: int) -> list[Transition]:
    """Name the child profiles. The riskiest programs get one each, the rest share one."""
    order = sorted(apart, key=lambda path: (apart[path][0], path))
    alone = order if len(order) <= limit else order[: limit - 1]
    used = set(taken) | {SHARED.encode()}
    named: list[Transition] = []
    for path in sorted(alone):
        name = _child_name(path, used)
        used.add(name.encode())
        named.append(Transition(path, "Cx", name, apart[path][1]))
    for path in sorted(set(order) - set(alone)):
        reason = (
            f"{apart[path][1]}; {limit} named targets are all that a profile can hold, so some programs share a child"
        )
        named.append(Transition(path, "Cx", SHARED, reason))
    return named


def _child_name(path: bytes, used: set[bytes]) -> str:
    """Return a plain, unused name for a program's child profile: its base name, or its whole path with dots."""
    for candidate in (path.rsplit(b"/", 1)[-1], path.strip(b"/").replace(b"/", b".")):
        try:
            name = plain_name(candidate.replace(b"+", b"p").replace(b"[", b"test"))
        except NotExpressible:
            continue
        if candidate not in used and name.encode() not in used and not name.startswith("/"):
            return name
    number = 1
    while f"program-{number}".encode() in used:
        number += 1
    return f"program-{number}"
