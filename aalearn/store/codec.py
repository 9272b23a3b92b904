"""The one place where what the store keeps of an event becomes bytes and comes back. These bytes stand on disk.

A need begins with three bytes: form, verdict, owner. The label has a column of its own. The plain form goes on with
`operation LF key LF … key NUL value NUL … value`; where a name or value holds a separator, each part is preceded by its
length instead. Both are exact, and each need has one form only, so that bytes can be compared and hashed.
"""

import struct
from collections.abc import Iterable
from hashlib import blake2b
from struct import pack, unpack_from
from typing import Final

from aalearn.model.errors import StoreError
from aalearn.model.event import Event, Verdict
from aalearn.model.label import STACK, Label

# On disk: only ever add at the end.
VERDICTS: Final = (
    Verdict.ALLOWED,
    Verdict.DENIED,
    Verdict.AUDIT,
    Verdict.STATUS,
    Verdict.HINT,
    Verdict.ERROR,
    Verdict.KILLED,
    Verdict.AUTO,
)
_CODES: Final = {verdict: code for code, verdict in enumerate(VERDICTS)}
_OWNERS: Final = (False, True, None)

_PLAIN: Final = 1
_COUNTED: Final = 2
_HEADS_KEPT: Final = 4096
_heads: dict[tuple[str, bool | None, str, tuple[str, ...]], bytes | None] = {}
_keys: dict[bytes, tuple[str, tuple[str, ...]]] = {}

_MOST: Final = (1 << 63) - 1


def to_bytes(value: str) -> bytes:
    """Return any str (also one with bytes that are not UTF-8 in it, as Python reads file names) as exact bytes."""
    return value.encode("utf-8", "surrogatepass")


def to_str(value: bytes) -> str:
    """Return what `to_bytes` was given."""
    return value.decode("utf-8", "surrogatepass")


def fit(value: int) -> int:
    """Return the number within a signed 64-bit column: a forged record may hold any."""
    return max(-_MOST, min(_MOST, value))


def group(label: bytes) -> bytes:
    """Return the profile that a label belongs to: without `//null-` children, child profiles and hats.

    A namespace in front (`:ns:P`) and each member of a stack (`a//&b`) stay.
    """
    if b"//" not in label:
        return label
    parsed = Label.parse(label)
    members = {Label(member.parts[0], (), member.namespace): None for member in (parsed, *parsed.stacked)}
    return STACK.join([bytes(member) for member in members])


def _head(verdict: Verdict, owner: bool | None, operation: str, keys: tuple[str, ...]) -> bytes | None:
    """Make and remember the plain form's part before the values, None when the names can't stand in it."""
    if len(_heads) >= _HEADS_KEPT:
        _heads.clear()
    words = (operation, *keys)
    fit_words = all("\0" not in word and "\n" not in word for word in words)
    front = _front(_PLAIN, verdict, owner)
    head = front + b"\n".join([to_bytes(word) for word in words]) if fit_words else None
    _heads[verdict._value_, owner, operation, keys] = head
    return head


def _front(form: int, verdict: Verdict, owner: bool | None) -> bytes:
    return bytes((form, _CODES[verdict], 2 if owner is None else int(owner)))


def encode_need(need: Event, owner: bool | None) -> bytes:
    """Return the bytes of all but the label."""
    fields = need.fields
    if fields:
        keys, values = zip(*fields, strict=True)
        shape = (need.verdict._value_, owner, need.operation, keys)
        head = _heads[shape] if shape in _heads else _head(need.verdict, owner, need.operation, keys)
        if head is not None:
            blob: bytes = b"\0".join((head, *values))
            if blob.count(b"\0", len(head)) == len(values):
                return blob
    parts = [to_bytes(need.operation)]
    for key, value in fields:
        parts += (to_bytes(key), value)
    return _front(_COUNTED, need.verdict, owner) + b"".join([pack("<I", len(part)) + part for part in parts])


def decode_need(label: bytes, blob: bytes) -> tuple[Event, bool | None]:
    """Return the event and its owner. Raises StoreError when the bytes are none of ours."""
    try:
        form, verdict, owner = blob[0], VERDICTS[blob[1]], _OWNERS[blob[2]]
        if form == _PLAIN:
            head, *values = blob[3:].split(b"\0")
            operation, keys = _names(head)
        elif form == _COUNTED:
            parts = list(_parts(blob, 3))
            operation = to_str(parts[0])
            keys = tuple(to_str(part) for part in parts[1::2])
            values = parts[2::2]
        else:
            raise StoreError("the store is damaged: an access has an unknown form; restore it from a copy")
        return Event(verdict, operation, label, tuple(zip(keys, values, strict=True))), owner
    except (IndexError, ValueError, struct.error):
        raise StoreError("the store is damaged: an access can't be read; restore it from a copy") from None


def _names(head: bytes) -> tuple[str, tuple[str, ...]]:
    known = _keys.get(head)
    if known is None:
        if len(_keys) >= _HEADS_KEPT:
            _keys.clear()
        operation, *keys = to_str(head).split("\n")
        known = _keys[head] = (operation, tuple(keys))
    return known


def _parts(data: bytes, place: int) -> Iterable[bytes]:
    """Yield the counted parts. Raises struct.error or ValueError where they are cut off."""
    while place < len(data):
        (size,) = unpack_from("<I", data, place)
        place += 4 + size
        if place > len(data):
            raise ValueError(size)
        yield data[place - size : place]


def low(label: int) -> bytes:
    """Return what the identities of a label's accesses begin with; `low(label + 1)` is above all of them."""
    return label.to_bytes(8, "big")


def identity(label_low: bytes, need: bytes) -> bytes:
    """Return the identity of an access: `low` of its label's id, and a 16-byte digest of that and `encode_need`."""
    return label_low + blake2b(label_low + need, digest_size=16).digest()


def name_id(*parts: bytes) -> int:
    """Return the 63-bit id of a name (label, node) or of a run. It needs no look-up: it depends on the name only."""
    framed = b"".join([pack("<I", len(part)) + part for part in parts])
    return int.from_bytes(blake2b(framed, digest_size=8).digest(), "little") >> 1
