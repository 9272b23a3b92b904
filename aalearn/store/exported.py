"""Reading the lines of an export (see `store/portable`). Anyone may have written them: each is checked exactly."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

from aalearn.model.errors import BadInput, StoreError
from aalearn.model.event import Event, Verdict
from aalearn.model.text import shown
from aalearn.store import ledger as ledgers
from aalearn.store.batch import NODES_KEPT, PROGRAMS_KEPT, RUNS_KEPT, SAMPLE_BYTES
from aalearn.store.portable import HEAD, KINDS
from aalearn.store.state import SKETCH_BYTES, State, decode

_LINE_BYTES: Final = 16 << 20
_MOST_BYTES: Final = 64 << 30
MOST: Final = (1 << 63) - 1
Row = tuple[str, list[Any]]


class _Wrong(Exception):
    """A value is not of the form."""


def rows(stream: BinaryIO, name: str) -> Iterator[Row]:
    """Yield (kind, values) of each line, values checked and made Python's. Raises BadInput with the line."""
    number = total = rank = 0
    try:
        while line := stream.readline(_LINE_BYTES + 1):
            number += 1
            total += len(line)
            value = _parsed(line, total)
            if number > 1:
                rank = _rank(value, rank)
                yield value[0], _MAKERS[value[0]](value[1:])
            elif value != HEAD:
                _refuse("this is no export of aalearn, or one of a newer version")
    except (_Wrong, ValueError, TypeError, KeyError, RecursionError, OverflowError, StoreError) as error:
        reason = str(error) if isinstance(error, _Wrong) else "it is not of the form"
        raise BadInput(f"{name}:{max(number, 1)}: {shown(reason)}; nothing was imported") from None
    if not number:
        raise BadInput(f"{name} is empty; nothing was imported")


def _parsed(line: bytes, total: int) -> Any:
    if len(line) > _LINE_BYTES or total > _MOST_BYTES or not line.endswith(b"\n"):
        raise _Wrong("it is too long, or cut off")
    return json.loads(line, parse_constant=_refuse)


def _rank(value: Any, before: int) -> int:
    """Return the place of a line's kind, which may not go back."""
    if not isinstance(value, list) or not value or value[0] not in KINDS:
        raise _Wrong("there is no such kind of line")
    rank = KINDS.index(value[0])
    if rank < before:
        raise _Wrong("lines are out of order")
    return rank


def _refuse(reason: str) -> Any:
    """Refuse a line; as the parser of NaN and its like it is given their names."""
    raise _Wrong(reason)


def _int(value: Any, least: int = -MOST) -> int:
    if type(value) is not int or not least <= value <= MOST:
        raise _Wrong("a number is missing or out of range")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise _Wrong("a text is missing")
    return value.encode("latin-1")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false is missing")
    return value


def _of(*makers: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    def make(values: list[Any]) -> list[Any]:
        return [maker(value) for maker, value in zip(makers, values, strict=True)]

    return make


def _ids(most: int) -> Callable[[Any], list[int]]:
    def make(value: Any) -> list[int]:
        if not isinstance(value, list) or len(value) > most:
            raise _Wrong("a list is missing or too long")
        return [_int(one, 0) for one in value]

    return make


def _shared(maker: Callable[[Any], Any]) -> Callable[[Any], dict[int, Any]]:
    def make(value: Any) -> dict[int, Any]:
        if not isinstance(value, dict) or not all(store.isdigit() and len(store) < 20 for store in value):
            raise _Wrong("shares of stores are missing")
        return {_int(int(store), 0): maker(share) for store, share in value.items()}

    return make


def _share(value: Any) -> State:
    count, first, last, trusted, programs, nodes, runs, sketch = value
    if not isinstance(programs, dict) or len(programs) > PROGRAMS_KEPT:
        raise _Wrong("programs are missing or too many")
    names = {_bytes(name): _int(amount, 1) for name, amount in programs.items()}
    bits = base64.b64decode(sketch, validate=True)
    made = State(_int(count, 1), _int(first), _int(last), trusted != "some" and _flag(trusted), names)
    made.partly = trusted == "some"
    made.nodes, made.runs, made.sketch = set(_ids(NODES_KEPT)(nodes)), set(_ids(RUNS_KEPT)(runs)), bits
    if len(bits) not in (0, SKETCH_BYTES) or decode(made.encode()) != made:
        raise _Wrong("a share is not of the form")
    return made


def _need(value: Any) -> tuple[Event, bool | None]:
    verdict, operation, fields, owner = value
    if not isinstance(operation, str) or owner not in (True, False, None):
        raise _Wrong("an access is not of the form")
    pairs = []
    for key, one in fields:
        if not isinstance(key, str):
            raise _Wrong("an access is not of the form")
        pairs.append((key, _bytes(one)))
    return Event(Verdict(verdict), operation, b"", tuple(pairs)), owner


def _blob(value: Any) -> bytes:
    blob = base64.b64decode(value, validate=True)
    if ledgers.encode(ledgers.decode(blob)) != blob:
        raise _Wrong("a block of the ledger is not of the form")
    return blob


def _some(value: Any) -> dict[int, State]:
    if not value:
        raise _Wrong("an access without a share")
    return _shared(_share)(value)


def _positive(value: Any) -> int:
    return _int(value, 0)


def _sample(value: Any) -> bytes:
    return _bytes(value)[:SAMPLE_BYTES]


_MAKERS: Final[dict[str, Callable[[list[Any]], list[Any]]]] = {
    "node": _of(_bytes, _positive, _ids(1000)),
    "marks": _of(_positive, _positive, _int, _blob),
    "counter": _of(_bytes, _shared(_positive)),
    "position": _of(_positive, _bytes, _bytes),
    "loss": _of(_positive, _positive, _int, _bytes, _int, _bytes, _int, _positive),
    "status": _of(_positive, _positive, _int, _bytes, _bytes, _bytes),
    "run": _of(_positive, _positive, _positive, _int, _int, _int, _bytes, _flag, _bytes, _bytes),
    "forgotten": _of(_positive, _positive),
    "access": _of(_bytes, _need, _some, _sample),
    "decision": _of(_bytes, _int, _bytes, _bytes, _bytes, _bytes),
    "revision": _of(_positive, _bytes, _int, _bytes, _bytes, _bytes, _bytes, _bytes),
    "step": _of(_positive, _bytes, _int, _bytes, _positive, _bytes, _bytes, _bytes),
}
