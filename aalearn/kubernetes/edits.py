"""Edits of a manifest by position: what is not meant keeps every byte.

A change is one string set at, or one key removed from, a path. All changes of a document become text edits against one
tree; the edited text is parsed again and must mean exactly the original with the changes applied, else UnsafeEdit.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aalearn.kubernetes import tree
from aalearn.kubernetes.spelling import Spelling, UnsafeEdit
from aalearn.kubernetes.tree import Alias, Node, Scalar
from aalearn.model.errors import BadInput

Path = tuple[str | int, ...]
_MAY_BE_EMPTY: Final = frozenset(
    {"securityContext", "annotations", "metadata"}
)  # to the API empty, null, absent are one


@dataclass(frozen=True, slots=True)
class Change:
    """Set the string at `path`, with the mappings that lead there; `value` None removes the last key of the path."""

    path: Path
    value: str | None


def applied(value: Any, changes: Iterable[Change]) -> Any:
    """Return a copy of a plain value with the changes applied; shared parts are copied only along the paths."""
    for change in changes:
        value = _changed(value, change.path, change.value)
    return value


def _changed(value: Any, path: Path, new: str | None) -> Any:
    if not path:
        return new
    key = path[0]
    if isinstance(value, list) and isinstance(key, int):
        return [_changed(item, path[1:], new) if at == key else item for at, item in enumerate(value)]
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise UnsafeEdit(f"{shown_path(path)} would stand in what is no mapping")
    if new is None and key not in value:
        return value
    inner = None if len(path) == 1 and new is None else _changed(value.get(str(key)), path[1:], new)
    if inner is None or (new is None and inner == {} and key in _MAY_BE_EMPTY):
        return {name: old for name, old in value.items() if name != key}
    return {**value, str(key): inner}


def shown_path(path: Path) -> str:
    """Return a path for people: `spec.containers[0].securityContext`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")


def same(one: Any, other: Any, _seen: set[tuple[int, int]] | None = None) -> bool:
    """Return whether two plain values mean the same to the API: absent, null and empty settings are one."""
    seen = set() if _seen is None else _seen
    if isinstance(one, dict) and isinstance(other, dict):
        if (id(one), id(other)) in seen:
            return True
        seen.add((id(one), id(other)))
        return all(
            (key in _MAY_BE_EMPTY and one.get(key) in (None, {}) and other.get(key) in (None, {}))
            or (key in one and key in other and same(one[key], other[key], seen))
            for key in {**one, **other}
        )
    if isinstance(one, list) and isinstance(other, list):
        if (id(one), id(other)) in seen:
            return True
        seen.add((id(one), id(other)))
        return len(one) == len(other) and all(same(a, b, seen) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the characters from `start` to `end`; of edits at one place the deeper (greater column) comes first."""

    start: int
    end: int
    text: str
    column: int = 0


def edit(text: str, root: Node, changes: Sequence[Change]) -> str:
    """Return the text with the changes made. Raises UnsafeEdit, saying why, when that would touch more."""
    wanted = applied(tree.value(root), changes)
    plan = _Plan(text, root)
    for change in changes:
        if change.value is None:
            plan.remove(change.path)
        else:
            plan.put(change.path, change.value)
    result = _replaced(text, plan.edits())
    try:
        again = tree.parse(result, tree.Place("edited"))
    except BadInput as error:
        raise UnsafeEdit(f"an edit by position would break it ({error})") from None
    if again is None or not same(tree.value(again), wanted):
        raise UnsafeEdit(plan.suspicion or "an edit by position would change more than was meant")
    return result


def _replaced(text: str, edits: Iterable[Edit]) -> str:
    parts, at = [], 0
    for one in sorted({*_merged(text, edits)}, key=lambda edit: (edit.start, edit.end, -edit.column)):
        if one.start < at:
            raise UnsafeEdit("two edits would overlap")
        parts += [text[at : one.start], one.text]
        at = one.end
    return "".join([*parts, text[at:]])


def _merged(text: str, edits: Iterable[Edit]) -> Iterator[Edit]:
    """Yield the edits with neighbouring cuts as one; one of the last line leaves no new end of a line behind."""
    cuts: list[tuple[int, int]] = []
    for one in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if one.text or one.start == one.end:
            yield one
        elif cuts and one.start <= cuts[-1][1]:
            cuts[-1] = (cuts[-1][0], max(cuts[-1][1], one.end))
        else:
            cuts.append((one.start, one.end))
    for start, end in cuts:
        begin = start
        if end == len(text) and not text.endswith("\n") and text[:start].endswith("\n"):
            begin -= 2 if text[:start].endswith("\r\n") else 1
        yield Edit(begin, end, "")


class _Plan:
    """Gathers changes by the node where they take place, then turns them into text edits."""

    def __init__(self, text: str, root: Node) -> None:
        self._text, self._root = text, root
        self._spelling = Spelling(text, root)
        self._added: dict[int, tuple[Node, list[tuple[tree.Mapping, Scalar]], dict[str, Any]]] = {}
        self._removed: dict[int, tuple[tree.Mapping, set[int]]] = {}
        self._scalars: dict[int, tuple[Scalar, str]] = {}
        self._parents: dict[int, tuple[tree.Mapping, int]] = {}
        self.suspicion = ""

    def put(self, path: Path, value: str) -> None:
        node: Node = self._root
        above: list[tuple[tree.Mapping, Scalar]] = []
        for depth, key in enumerate(path):
            node = self._step(node)
            if isinstance(node, tree.Sequence) and isinstance(key, int):
                node = node.items[key]
                continue
            inner = node.own(str(key)) if isinstance(node, tree.Mapping) else None
            if inner is None:
                self._add(node, above, path[depth:], value)
                return
            assert isinstance(node, tree.Mapping)
            above.append((node, next(name for name, _ in node.entries if name.text == key)))
            node = inner
        node = self._step(node)
        if not isinstance(node, Scalar):
            raise UnsafeEdit(f"{shown_path(path)} is no string")
        if node.null:
            raise UnsafeEdit(f"{shown_path(path)} is null")
        if node.text != value or not isinstance(tree.value(node), str):
            self._scalars[id(node)] = (node, value)

    def _step(self, node: Node) -> Node:
        """Return the node itself, and remember an anchor: others may share what is changed there."""
        if isinstance(node, Alias) or node.anchor:
            name = node.anchor or tree.resolved(node).anchor
            self.suspicion = f"it stands in a part that is shared by the YAML anchor &{name}"
        return tree.resolved(node)

    def _add(self, node: Node, above: list[tuple[tree.Mapping, Scalar]], path: Path, value: str) -> None:
        if isinstance(node, tree.Mapping):
            if tree.merges(node, str(path[0])):
                raise UnsafeEdit(f"{path[0]} comes from a YAML merge key (<<)")
        elif not (isinstance(node, Scalar) and node.null and above):
            raise UnsafeEdit(f"{shown_path(path)} would stand in what is no mapping")
        wanted = self._added.setdefault(id(node), (node, above, {}))[2]
        for key in path[:-1]:
            wanted = wanted.setdefault(str(key), {})
        wanted[str(path[-1])] = value

    def remove(self, path: Path) -> None:
        node: Node = self._root
        for key in path[:-1]:
            node = self._step(node)
            inner: Node | None = None
            if isinstance(node, tree.Sequence) and isinstance(key, int):
                inner = node.items[key]
            elif isinstance(node, tree.Mapping):
                inner = node.own(str(key))
                at = next((at for at, (name, _) in enumerate(node.entries) if name.text == key), None)
                if inner is not None and at is not None and key in _MAY_BE_EMPTY:
                    self._parents[id(tree.resolved(inner))] = (node, at)
            if inner is None:
                return  # nothing there
            node = inner
        holder = self._step(node)
        if not isinstance(holder, tree.Mapping):
            return
        for at, (name, _) in enumerate(holder.entries):
            if name.text == path[-1]:
                self._removed.setdefault(id(holder), (holder, set()))[1].add(at)

    def edits(self) -> list[Edit]:
        self._prune()
        made = [self._spelling.scalar(node, value) for node, value in self._scalars.values()]
        for node, gone in self._removed.values():
            made += self._removals(node, gone)
        made += [self._addition(*added) for added in self._added.values()]
        return [Edit(*one) for one in made]

    def _prune(self) -> None:
        """Let a mapping that would be left empty go as a whole, unless a comment stands in it or something is added."""
        for _ in range(len(_MAY_BE_EMPTY)):
            for node, gone in list(self._removed.values()):
                if len(gone) < len(node.entries) or id(node) not in self._parents or id(node) in self._added:
                    continue
                holder, at = self._parents[id(node)]
                if not self._spelling.goes_cleanly(holder, at):
                    continue
                del self._removed[id(node)]
                self._removed.setdefault(id(holder), (holder, set()))[1].add(at)

    def _removals(self, node: tree.Mapping, gone: set[int]) -> list[tuple[int, int, str, int]]:
        if node.flow:
            return self._spelling.cut_flow(node, gone)
        return [self._spelling.cut_block(node, at, gone) for at in sorted(gone)]

    def _addition(
        self, node: Node, above: list[tuple[tree.Mapping, Scalar]], wanted: Mapping[str, Any]
    ) -> tuple[int, int, str, int]:
        if isinstance(node, tree.Mapping) and node.entries:
            if node.flow:
                return self._spelling.into_flow(node, wanted)
            return self._spelling.into_block(node, wanted, self._removed.get(id(node), (node, set[int]()))[1])
        if not above:
            raise UnsafeEdit("the document is empty")
        holder, key = above[-1]
        return self._spelling.fill(holder, key, node, wanted)
