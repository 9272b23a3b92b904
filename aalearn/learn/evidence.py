"""Which accesses count, and for which part of the profile; the peers of events folded as the profile will have them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aalearn.learn.containers import inside
from aalearn.learn.labels import Context, context
from aalearn.learn.options import Options
from aalearn.learn.transitions import Plan
from aalearn.model.errors import NotExpressible
from aalearn.model.event import Access, Event, Verdict
from aalearn.model.label import STACK, Label, fold

PEERS = ("peer", "peer_label")
IX_FALLBACK = b"ix fallback"


@dataclass(frozen=True, slots=True)
class Item:
    """One access that counts as evidence: its position in the sorted order, and the context that it belongs to."""

    at: int
    access: Access
    context: Context

    @property
    def event(self) -> Event:
        """The access's event, as logged."""
        return self.access.event

    @property
    def denied(self) -> bool:
        """Whether it rests on DENIED records (a person asked for those)."""
        return self.event.verdict is Verdict.DENIED

    @property
    def runs(self) -> frozenset[int]:
        """The runs; an access without any counts as one of an unknown run (-1), the same for all."""
        return frozenset(self.access.runs) or frozenset({-1})


def order(accesses: Iterable[Access]) -> list[Access]:
    """Return accesses sorted by what they say, never by their ids."""
    return sorted(accesses, key=_order_key)


def _order_key(access: Access) -> tuple[object, ...]:
    event = access.event
    owner = {None: 0, False: 1, True: 2}[access.owner]
    numbers = (access.count, access.first, access.last, access.run_count, len(access.runs), access.trusted)
    return (event.operation, event.verdict, event.profile, event.fields, owner, numbers, access.programs, access.sample)


def admitted(name: bytes, accesses: Sequence[Access], options: Options) -> list[Item]:
    """Return the accesses that are evidence of need: ALLOWED; AUDIT of an exec by `ix fallback`; DENIED where asked
    for. In a container's profile the host's names of its files are replaced by its own.
    """
    items: list[Item] = []
    for at, access in enumerate(map(inside, accesses) if options.container else accesses):
        event = access.event
        if event.verdict is Verdict.DENIED:
            counts = options.include_denied
        elif event.verdict is Verdict.AUDIT:
            counts = (event.operation == "exec" and event.get("info") == IX_FALLBACK) or _mapped(event)
        else:
            counts = event.verdict is Verdict.ALLOWED
        if counts and (found := context(name, event.profile)) is not None:
            items.append(Item(at, _with_mapping(access), found))
    return items


# A library by its name. The loader itself (ld-linux-x86-64.so.2) is mapped by the kernel, which asks for no m.
_LIBRARY = re.compile(rb"/(?!ld[-.])[^/]*\.so(?:\.[0-9.]+)?\Z")


def _mapped(event: Event) -> bool:
    return event.operation == "file_mmap" and "m" in event.text("requested_mask")


def _with_mapping(access: Access) -> Access:
    """Return the access with what a learning profile let pass: its `/** ix,` allows mapping as code too.

    Of the loader's mappings of a library only the one that lacks `r` is logged then (tried on 6.12: `requested_mask="r"
    denied_mask="r"` and nothing more), so a library that is mapped counts as mapped for execution. Source of the
    implied m: apparmor_parser, "ix implies m".
    """
    event = access.event
    denied = event.text("denied_mask")
    library = event.operation == "file_mmap" and _LIBRARY.search(event.get("name") or b"") is not None
    if "m" in denied or not (library or _mapped(event)):
        return access
    return replace(access, event=event.with_(denied_mask=f"m{denied}".encode()))


def folded(event: Event, block: str, plan: Plan, name: bytes) -> Event:
    """Return the event as the finished profile will meet it: its subject is the block, its peers and target are
    folded.
    """
    changes: dict[str, bytes | None] = {"profile": plan.label(block)}
    for key in PEERS:
        peer = event.get(key)
        if peer is not None:
            changes[key] = fold_peer(peer, plan, name)
    if event.operation == "exec" and event.get("target") is not None:
        changes["target"] = _exec_target(event, block, plan)
    return event.with_(**changes)


def fold_peer(peer: bytes, plan: Plan, name: bytes) -> bytes:
    """Return a peer's label: of this profile the block that its context becomes, of another its folded label."""
    found = context(name, peer)
    if found is None:
        return bytes(Label.parse(peer).folded())
    try:
        block = plan.block(found)
    except NotExpressible:  # a hat that can't be named: nothing but its profile can stand for it
        block = None
    if block is None:
        return bytes(Label.parse(peer).folded())
    own, *others = peer.split(STACK)  # kernels from 6.17 on label what runs in a container `profile//&unconfined`
    return STACK.join([plan.label(block) if context(name, one) is not None else fold(one) for one in (own, *others)])


def _exec_target(event: Event, block: str, plan: Plan) -> bytes | None:
    path = event.get("name") or b""
    if path not in plan.ways:
        return event.get("target")
    way = plan.way(block, path)
    if way.mode == "Px":
        return None
    return plan.label(way.child if way.mode == "Cx" else block)
