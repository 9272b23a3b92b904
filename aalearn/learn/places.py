"""Places with rules of their own: kubelet's tree, other processes' memory, the homes of several users."""

import re
from collections.abc import Mapping

from aalearn.learn.options import Options
from aalearn.learn.recognise import Segment, literal
from aalearn.learn.sensitive import never
from aalearn.learn.tree import Need, Node, Seen, Use
from aalearn.model.pattern import Star, Var

_PROCESS = re.compile(rb"/proc/([0-9]+)(?:/task/[0-9]+)?/(?:mem|environ|maps)")
_KUBELET = b"/var/lib/kubelet/"
LONGEST, DEEPEST = 1024, 40  # bytes and segments of a path that is generalised


def kept_literal(path: bytes, write: bool, host_agent: bool) -> bool:
    """Return whether nothing may generalise `path`: the never-across list, and kubelet's tree but for host agents."""
    return never(path, write) or (path.startswith(_KUBELET) and not host_agent)


def overlong(path: bytes) -> bool:
    """Return whether `path` is too long or too deep to look for what it has in common with others: no program needs
    such names, but one can make them to stop learning.
    """
    return len(path) > LONGEST or path.count(b"/") > DEEPEST


def process_files(path: bytes) -> bool:
    """Return whether `path` is the memory, environment or map of a process that has another number in each run.

    As a literal such a rule is worthless, and generalised only by a person: it is proposed, not granted.
    """
    found = _PROCESS.fullmatch(path)
    return found is not None and found[1] != b"1"


def typed_process(path: bytes) -> tuple[Segment, ...]:
    """Return the segments of such a path with its numbers typed."""
    names = path[1:].split(b"/")
    parts: list[Segment] = [(Var("PROC"),), (Var("pid"),), *(literal(name) for name in names[2:])]
    if names[2] == b"task":
        parts[3] = (Var("tid"),)
    return tuple(parts)


def share_homes(roots: dict[bool, Node], events: int) -> None:
    """Merge what two or more users' homes were needed for alike, by their owners alone, into `/home/*/`.

    `@{HOME}` would be the usual word, but it opens /root too. `events` is the least number of events for `owner`.
    """
    for root in roots.values():
        homes = root.children.get(literal(b"home"))
        if homes is None:
            continue
        shared: dict[tuple[Segment, ...], list[Node]] = {}
        for part, user in homes.children.items():
            if part:
                for parts, _ in user.leaves():
                    shared.setdefault(parts, []).append(user)
        for parts, users in sorted(shared.items(), key=lambda item: repr(item[0])):
            if len(users) > 1 and parts:
                _share(homes, parts, users, events)


def _share(homes: Node, parts: tuple[Segment, ...], users: list[Node], events: int) -> None:
    total = Need()
    leaves = [_leaf(user, parts) for user in users]
    for leaf in leaves:
        if leaf is not None and leaf.need is not None:
            total.take(leaf.need)
    if not all(seen.owner and seen.count >= events for seen in total.letters.values()):
        return
    for leaf in leaves:
        if leaf is not None:
            leaf.need = None
    home = homes.children.setdefault((Star(),), Node(why=f"homes of {len(users)} users"))
    home.insert(parts, _copy(total))


def _leaf(node: Node, parts: tuple[Segment, ...]) -> Node | None:
    found: Node | None = node
    for part in parts:
        found = found.children.get(part) if found is not None else None
    return found


def _copy(need: Need) -> Need:
    copied = Need()
    for letter, seen in need.letters.items():
        copied.letters[letter] = Seen(set(seen.accesses), set(seen.runs), seen.count, seen.owner)
    copied.paths = set(need.paths)
    return copied


# Where a service keeps data of its own: two folders deep at least, so that no shared folder is a root.
_DATA = re.compile(rb"/(?:var/(?:lib|cache|spool)|srv)/[^/]+/(?:[^/]+/)*", re.DOTALL)
_ROOT_NAMES, _ROOT_RUNS = 8, 3


def data_roots(uses: Mapping[bytes, Use], execs: frozenset[bytes], options: Options) -> tuple[bytes, ...]:
    """Return the folders (each ends in `/`) that are the program's own, wholly: nothing else explains what it does
    there.

    The subject made the folder and every file in it that it needed, each event was by the owner, no other profile
    touches it (`options.shared` must be known), nothing in it is run or mapped, and at least three runs each brought
    names that no other run had, eight in all. A folder inside another root is not listed.
    """
    if options.shared is None:
        return ()
    found: list[bytes] = []
    for path in sorted(uses):
        if uses[path].made and path.endswith(b"/") and _DATA.fullmatch(path) and not path.startswith(tuple(found)):
            inside = {name: use for name, use in uses.items() if name.startswith(path) and name != path}
            if _exclusive(path, inside, execs, options.shared):
                found.append(path)
    return tuple(found)


def _exclusive(root: bytes, inside: Mapping[bytes, Use], execs: frozenset[bytes], shared: frozenset[bytes]) -> bool:
    if any(path.startswith(root) for path in (*execs, *shared)):
        return False
    own = all(
        use.made and "m" not in use.need.letters and all(seen.owner for seen in use.need.letters.values())
        for use in inside.values()
    )
    alone = [use.need.runs for use in inside.values() if len(use.need.runs) == 1]
    return own and len(alone) >= _ROOT_NAMES and len(frozenset().union(*alone)) >= _ROOT_RUNS
