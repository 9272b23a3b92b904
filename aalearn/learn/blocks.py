"""Evidence by block: for each profile, child and hat what files, programs and other rules its events need."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aalearn.learn.evidence import Item
from aalearn.learn.tree import Seen, Use
from aalearn.model.event import Event
from aalearn.rules.base import Rule
from aalearn.rules.file import FileRule


@dataclass(slots=True)
class Block:
    """What one profile, child (its name) or hat (`^` and its name) needs. Items are known by their positions.

    `implied` are rules that no record of this block asked for, but the other side of one did.
    """

    name: str
    uses: dict[bytes, Use] = field(default_factory=dict)
    execs: dict[bytes, set[int]] = field(default_factory=dict)
    others: dict[Rule, set[int]] = field(default_factory=dict)
    implied: dict[Rule, set[int]] = field(default_factory=dict)


def add(block: Block, item: Item, event: Event, rules: Iterable[Rule]) -> None:
    """Add what one access needs to its block."""
    made = _creates(event)
    for rule in rules:
        if not isinstance(rule, FileRule):
            block.others.setdefault(rule, set()).add(item.at)
        elif rule.exec:
            block.execs.setdefault(rule.pattern.literal_bytes, set()).add(item.at)
        else:
            _add_file(block, item, rule, made, event.operation in _MOVERS)


def _add_file(block: Block, item: Item, rule: FileRule, made: bool, moved: bool) -> None:
    path = rule.pattern.literal_bytes
    use = block.uses.setdefault(path, Use())
    use.need.paths.add(path)
    use.made = use.made or made
    use.moved = use.moved or moved
    access = item.access
    for letter in sorted(rule.perms):
        seen = Seen({item.at}, set(item.runs), access.count, access.owner is True or rule.owner)
        use.need.letters.setdefault(letter, Seen()).take(seen)


def _creates(event: Event) -> bool:
    """Return whether the event made its file: mkdir, mknod and the like, or an open that creates."""
    mask = event.text("denied_mask") or event.text("requested_mask")
    return "c" in mask.split(":")[0] or event.operation in _MAKERS


_MOVERS = frozenset({"rename_src", "rename_dest", "unlink"})
_MAKERS = frozenset({"mkdir", "mknod", "symlink", "rename_dest"})


def union(items: Mapping[int, Item], positions: Iterable[int]) -> frozenset[int]:
    """Return the runs of the items at these positions."""
    return frozenset().union(*(items[at].runs for at in positions))
