"""Words of the policy automaton read back for people: what a witness of a walk says (layouts: `policy.ask`)."""

from collections.abc import Iterator
from typing import Final

from aalearn.model.text import shown
from aalearn.policy.ask.base import numbers

# The classes that walks read, by their name in `encodings.toml`, with the table of their permission bits.
CLASS_BITS: Final = {
    "signal": "signal",
    "ptrace": "ptrace",
    "dbus": "dbus",
    "mount": "mount",
    "namespace": "namespace",
    "io_uring": "io_uring",
    "posix_mqueue": "mqueue",
    "sysv_mqueue": "mqueue",
}
_SIGNALS: Final = {number: name for name, number in numbers("signals").items()}
_FLAGS: Final = {number + 1: name for name, number in numbers("mount_flags").items()}
_REALTIME: Final = 128


def words_of(bits: int, table: dict[str, int]) -> str:
    """Return the words of `bits` in the order of `table`, blanks between."""
    return " ".join(word for word, bit in table.items() if bits & bit)


def read(kind: str, word: bytes, bits: int) -> Iterator[tuple[str, str]]:
    """Yield (permissions, object) for a word of the class `kind`; nothing where no kernel would ever ask that word."""
    if kind == "mount":
        yield from _mount(word, bits)
    elif kind == "dbus":
        yield from _dbus(word, bits)
    else:
        text = _object(kind, word)
        if text is not None:
            yield words_of(bits, numbers(CLASS_BITS[kind])), text


def _object(kind: str, word: bytes) -> str | None:
    if kind == "signal":
        if len(word) < 2:
            return None
        # a number that no rule can name stands for every signal: only a rule for all of them permits it
        unnamed = "any signal"
        name = _SIGNALS.get(word[0], unnamed) if word[0] < _REALTIME else f"rtmin+{word[0] - _REALTIME}"
        return f"{name} peer {shown(word[1:])}"
    if kind in ("ptrace", "io_uring"):
        return f"peer {shown(word)}" if word else ("" if kind == "io_uring" else None)
    if kind == "sysv_mqueue":
        return str(int.from_bytes(word[:4])) if len(word) >= 4 else None
    if kind == "posix_mqueue":
        queue, _, label = word.partition(b"\0")
        return shown(queue) + (f" label {shown(label)}" if label else "") if queue else None
    return shown(word)


def _dbus(word: bytes, bits: int) -> Iterator[tuple[str, str]]:
    table = numbers("dbus")
    fields = word.split(b"\0")
    names = {1: ("bus",), 2: ("bus", "name")}.get(len(fields), ("bus", "name", "label", "path", "interface", "member"))
    wanted = {1: "eavesdrop", 2: "bind", 6: "send receive"}.get(len(fields), "")
    text = words_of(bits & sum(table[word] for word in wanted.split()), table)
    if text:
        yield text, " ".join(f"{name}={shown(value)}" for name, value in zip(names, fields, strict=True) if value)


def _mount(word: bytes, bits: int) -> Iterator[tuple[str, str]]:
    table = numbers("mount")
    fields = word.split(b"\0", 3)
    if bits & table["umount"] and len(fields) == 1 and word:
        yield "umount", shown(word)
    if bits & table["pivot_root"] and len(fields) == 2 and all(fields):
        yield "pivot_root", f"{shown(fields[0])}, the old root to {shown(fields[1])}"
    if bits & table["mount"] and len(fields) == 4:
        point, source, kind, rest = fields
        flags, _, data = rest.partition(b"\0")
        names = [_FLAGS.get(flag) for flag in flags]
        if point and None not in names:
            parts = [f"fstype={shown(kind)}" if kind else "", f"options={','.join(str(name) for name in names)}"]
            parts += [shown(source), "on", shown(point), f"data {shown(data)}" if data else ""]
            yield "mount", " ".join(part for part in parts if part)
