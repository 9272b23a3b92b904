"""A bounded look at what was seen last. A program can make up names without end: most rows are only counted."""

import heapq
from collections.abc import Callable, Collection
from typing import Final

from sqlalchemy import Connection, LargeBinary, Select, and_, func, select

from aalearn.model.event import Access, Verdict
from aalearn.store import schema
from aalearn.store.codec import VERDICTS, decode_need, to_str
from aalearn.store.readings import Latest
from aalearn.store.state import decode as decode_state
from aalearn.store.state import glance
from aalearn.store.writing import access_id, base_id

_AT_ONCE: Final = 1_000  # rows


def latest(
    connection: Connection,
    name: bytes,
    verdicts: Collection[Verdict],
    since: int,
    *,
    most: int,
    room: int,
    rows: int,
    on: Callable[[str], bool] | None,
) -> Latest:
    """Return the accesses that were seen last, at or after `since` (ms): at most so many, in at most `room` bytes as
    they are kept, with how many others there are. `on` says of which nodes; None: of all. At most `rows` are read.

    The first look takes of each row what is short, and keeps the times of `most` of them.
    """
    named = connection.execute(select(schema.nodes.c.id, schema.nodes.c.name))
    nodes = {number: to_str(node) for number, node in named}
    wanted = None if on is None else frozenset(number for number, node in nodes.items() if on(node))
    newest: list[tuple[int, bytes, bytes, int]] = []
    seen = kinds = events = 0
    for label, digest, state in connection.execute(_short(name, verdicts, rows)):
        seen += 1
        amount, first, last, seen_on = glance(state)
        if last < since:
            continue
        if wanted is not None and not wanted.issuperset(seen_on):
            if wanted.isdisjoint(seen_on):
                continue
            amount = 1  # how many of them were here is not known
        if first < since:
            amount = 1
        kinds += 1
        events += amount
        if len(newest) < most:
            heapq.heappush(newest, (last, digest, label, amount))
        elif newest and last >= newest[0][0]:
            heapq.heappushpop(newest, (last, digest, label, amount))
    found = []
    table = schema.accesses.c
    for _, digest, label, amount in sorted(newest, reverse=True):
        one = select(table.need, table.state, table.sample).where(table.digest == digest)
        need, state, sample = connection.execute(one).one()
        room -= len(need) + len(state) + len(sample)
        if room < 0:
            break
        found.append(_access(digest, label, need, state, sample, nodes))
        events -= amount
    return Latest(tuple(found), kinds - len(found), events, whole=seen < rows)


def _short(name: bytes, verdicts: Collection[Verdict], rows: int) -> Select[bytes, bytes, bytes]:
    """Return a query of so many rows of these verdicts: label, digest, state."""
    codes = [bytes((VERDICTS.index(verdict),)) for verdict in verdicts]
    labels, table = schema.labels.c, schema.accesses.c
    near = and_(table.digest >= labels.low, table.digest < labels.high)
    asked = select(labels.label, table.digest, table.state).join_from(schema.labels, schema.accesses, near)
    asked = asked.where(labels.base == base_id(name), func.substr(table.need, 2, 1, type_=LargeBinary).in_(codes))
    return asked.limit(rows).execution_options(yield_per=_AT_ONCE)


def _access(digest: bytes, label: bytes, need: bytes, state: bytes, sample: bytes, nodes: dict[int, str]) -> Access:
    event, owner = decode_need(label, need)
    held = decode_state(state)
    return Access(
        id=access_id(digest),
        event=event,
        owner=owner,
        count=held.count,
        first=held.first,
        last=held.last,
        programs=tuple(sorted(held.programs)),
        nodes=tuple(sorted(nodes.get(number, "?") for number in held.nodes)),
        trusted=held.trusted,
        sample=sample,
    )
