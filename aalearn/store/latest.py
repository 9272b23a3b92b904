"""A bounded look at what was seen last. A program can make up names without end: most rows are only counted."""

import heapq
import struct
from collections.abc import Callable, Collection

from sqlalchemy import Connection, LargeBinary, and_, func, select

from aalearn.model.errors import StoreError
from aalearn.model.event import Access, Verdict
from aalearn.store import schema
from aalearn.store.codec import VERDICTS, decode_need, to_str
from aalearn.store.readings import Latest
from aalearn.store.state import decode as decode_state
from aalearn.store.state import glance
from aalearn.store.writing import access_id, base_id

_ROWS = 1_000  # read at once


def latest(
    connection: Connection,
    name: bytes,
    verdicts: Collection[Verdict],
    since: int,
    *,
    most: int,
    room: int,
    on: Callable[[str], bool] | None,
) -> Latest:
    """Return the accesses that were seen last, at or after `since` (ms): at most so many, in at most `room` bytes as
    they are kept, with how many others there are. `on` says of which nodes; None: of all.

    The first look takes of each row what is short, and keeps the times of `most` of them.
    """
    rows = connection.execute(select(schema.nodes.c.id, schema.nodes.c.name))
    nodes = {number: to_str(node) for number, node in rows}
    wanted = None if on is None else frozenset(number for number, node in nodes.items() if on(node))
    codes = bytes(VERDICTS.index(verdict) for verdict in verdicts)
    labels, table = schema.labels.c, schema.accesses.c
    front = func.substr(table.need, 1, 3, type_=LargeBinary)
    near = and_(table.digest >= labels.low, table.digest < labels.high)
    asked = select(labels.label, table.digest, front, table.state)
    asked = asked.join_from(schema.labels, schema.accesses, near).where(labels.base == base_id(name))
    newest: list[tuple[int, bytes, bytes, int]] = []
    kinds = events = 0
    for label, digest, head, state in connection.execute(asked.execution_options(yield_per=_ROWS)):
        if bytes(head)[1:2] not in codes:
            continue
        try:
            count, first, last = glance(state)
        except struct.error:
            raise StoreError("the store is damaged: an access can't be read; restore it from a copy") from None
        if last < since:
            continue
        if wanted is not None:
            seen_on = decode_state(state).nodes
            if wanted.isdisjoint(seen_on):
                continue
            count = count if wanted.issuperset(seen_on) else 1  # how many of them were here is not known
        amount = count if first >= since else 1
        kinds, events = kinds + 1, events + amount
        row = (last, bytes(digest), bytes(label), amount)
        if len(newest) < most:
            heapq.heappush(newest, row)
        else:
            heapq.heappushpop(newest, row)
    found = []
    for _, digest, label, amount in sorted(newest, reverse=True):
        one = select(table.need, table.state, table.sample).where(table.digest == digest)
        need, state, sample = connection.execute(one).one()
        room -= len(need) + len(state) + len(sample)
        if room < 0:
            break
        found.append(_access(digest, label, need, state, sample, nodes))
        events -= amount
    return Latest(tuple(found), kinds - len(found), events)


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
