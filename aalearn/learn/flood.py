"""Floods: file names by the thousand from one run are cut down before anything looks at them, so that nobody can stop
learning by making names.

What is cut is no evidence and isn't replayed: a note says how many names, where. Which ones stay depends on what the
names are, never on the order of the records.
"""

from collections.abc import Iterable, Sequence

from aalearn.learn.evidence import Item
from aalearn.learn.labels import Context
from aalearn.learn.options import Quorum
from aalearn.model.text import shown
from aalearn.rules import kind_of
from aalearn.rules.base import Level, Note

_File = tuple[Context, bytes]
_WRITES = frozenset("wacdl")
_KEPT = 2  # times the cap that are kept, so that a person sees what the flood is made of


def capped(items: Sequence[Item], quorum: Quorum) -> tuple[list[Item], list[Note]]:
    """Return the items without floods, in the same order, and a note on each flood.

    A flood is what one run alone wrote into one folder beyond twice `names_per_folder`, in sorted order; and whatever
    is beyond `names` files in all, those that fewest runs needed.
    """
    at = [_file(item) for item in items]
    runs: dict[_File, frozenset[int]] = {}
    written: set[_File] = set()
    for item, file in zip(items, at, strict=True):
        if file is not None:
            runs[file] = runs.get(file, frozenset()) | item.runs
            if not _WRITES.isdisjoint(item.event.text("denied_mask") or item.event.text("requested_mask")):
                written.add(file)
    left, notes = _by_folder((file for file in written if len(runs[file]) == 1), runs, quorum.names_per_folder * _KEPT)
    rest = sorted(runs.keys() - left, key=lambda file: (-len(runs[file]), file[1], repr(file[0])))
    if more := rest[quorum.names :]:
        left.update(more)
        text = f"flood: {len(more):,} further file names, beyond {quorum.names:,} of one profile, are left out"
        notes.append(Note(Level.DOUBT, text))
    if not left:
        return list(items), []
    return [item for item, file in zip(items, at, strict=True) if file not in left], notes


def _file(item: Item) -> _File | None:
    """Return the file that an item is about, None for what is no plain access to a file."""
    path = item.event.get("name") or b""
    if not path.startswith(b"/") or item.event.operation == "exec" or kind_of(item.event) not in ("file", "link"):
        return None
    return (item.context, path)


def _by_folder(files: Iterable[_File], runs: dict[_File, frozenset[int]], cap: int) -> tuple[set[_File], list[Note]]:
    brought: dict[tuple[Context, bytes, int], list[_File]] = {}
    for file in files:
        context, path = file
        folder = path.rstrip(b"/").rpartition(b"/")[0]
        brought.setdefault((context, folder, min(runs[file])), []).append(file)
    left: set[_File] = set()
    counts: dict[bytes, int] = {}
    for (_, folder, _), same in brought.items():
        if len(same) > cap:
            left.update(sorted(same, key=lambda file: file[1])[cap:])
            counts[folder] = counts.get(folder, 0) + len(same) - cap
    return left, [
        Note(Level.DOUBT, f"flood: {count:,} further names in {shown(folder + b'/')} by one run are left out, unheard")
        for folder, count in sorted(counts.items())
    ]
