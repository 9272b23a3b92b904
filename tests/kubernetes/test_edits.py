"""Single edits: the text around them, and what is left to a patch, with its reason."""

import pytest

from aalearn.kubernetes import tree
from aalearn.kubernetes.edits import Change, applied, edit, same
from aalearn.kubernetes.spelling import UnsafeEdit

SET = [Change(("spec", "securityContext", "f", "type"), "L"), Change(("spec", "securityContext", "f", "name"), "a b")]
CUT = [Change(("spec", "securityContext", "f"), None)]
HEAD = "spec:\n  securityContext:\n"
BRACES = 'securityContext: {\n    f: {\n      type: L,\n      name: "a b"\n    }\n  }'
LINES = 'securityContext:\n    f:\n      type: L\n      name: "a b"\n'


def edited(text: str, changes: list[Change]) -> str:
    root = tree.parse(text, tree.Place("x"))
    assert root is not None
    return edit(text, root, changes)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("spec:\n  a: 1\n", f"spec:\n  a: 1\n  {LINES}"),
        ("spec:\n  a: 1", f"spec:\n  a: 1\n  {LINES.rstrip()}"),
        ("spec:\r\n  a: 1\r\n", f"spec:\n  a: 1\n  {LINES}".replace("\n", "\r\n")),
        ("spec:\n  a: 1 # c\n\n# d\nb: 2\n", f"spec:\n  a: 1 # c\n  {LINES}\n# d\nb: 2\n"),
        ("spec:\n  a: |\n    t\n\n\nb: 2\n", f"spec:\n  a: |\n    t\n  {LINES}\n\nb: 2\n"),
        ("spec:\n  a: |+\n    t\n\nb: 2\n", f"spec:\n  {LINES}  a: |+\n    t\n\nb: 2\n"),
        ("spec:\n  z: 1\n  a: |+\n    t\n\nb: 2\n", f"spec:\n  z: 1\n  {LINES}  a: |+\n    t\n\nb: 2\n"),
        ("spec:\n  a: |2-\n      t\n    u\n", f"spec:\n  {LINES}  a: |2-\n      t\n    u\n"),
        ("spec:\n  a:\n  - 1\n  -\n  b: 2\n", f"spec:\n  a:\n  - 1\n  -\n  b: 2\n  {LINES}"),
        ("spec:\n  b: 2\n  a:\n  - 1\n  -\n", f"spec:\n  b: 2\n  {LINES}  a:\n  - 1\n  -\n"),
        ("spec:\n  a:\t'x'\t# c\n", f"spec:\n  a:\t'x'\t# c\n  {LINES}"),
        ('spec:\n  a: "x\n    y"\n', f'spec:\n  a: "x\n    y"\n  {LINES}'),
        ("spec:\n  a: [1,\n    2]  # c\n", f"spec:\n  a: [1,\n    2]  # c\n  {LINES}"),
        ("spec:\n  securityContext:\n  a: 1\n", f"spec:\n  {LINES}  a: 1\n"),
        ("spec:\n  securityContext: ~  # c\n", f"spec:\n  {LINES.replace(':', ':  # c', 1)}"),
        ("spec:\n  securityContext: {}", f"spec:\n  {LINES.rstrip()}"),
        ("spec:\n  securityContext:\n    u: 1\n", "spec:\n  securityContext:\n    u: 1\n" + LINES.partition("\n")[2]),
        ("spec: {a: 1}\n", 'spec: {a: 1, securityContext: {f: {type: L, name: "a b"}}}\n'),
        ("spec: {a: 1,}\n", 'spec: {a: 1, securityContext: {f: {type: L, name: "a b"}},}\n'),
        ("spec: {\n  a: 1 # c\n}\n", f"spec: {{\n  a: 1,\n  {BRACES} # c\n}}\n"),
        ('{"spec":{"a":1}}', '{"spec":{"a":1,"securityContext":{"f":{"type":"L","name":"a b"}}}}'),
        ('{"spec":{}}', '{"spec":{"securityContext":{"f":{"type":"L","name":"a b"}}}}'),
        ("spec: # c\n", f"spec: # c\n  {LINES}"),
        (HEAD + "    f: {type: 'x'}\n", HEAD + "    f: {type: 'L', name: \"a b\"}\n"),
        (HEAD + "    f:\n      type: !!str x # c\n", HEAD + '    f:\n      type: !!str L # c\n      name: "a b"\n'),
        ("spec:\n  x: &x\n    q: 1\n  a: *x\n", f"spec:\n  x: &x\n    q: 1\n  a: *x\n  {LINES}"),
        ("spec:\n  a: 'u\u2028v'\n", f"spec:\n  a: 'u\u2028v'\n  {LINES}"),
    ],
)  # fmt: skip
def test_what_is_set_stands_where_it_belongs(before: str, after: str) -> None:
    assert edited(before, SET) == after
    assert edited(after, SET) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("spec:\n  a: 1\n  securityContext:\n    f: 1\n", "spec:\n  a: 1\n"),
        ("spec:\n  a: 1\n  securityContext:\n    f: 1", "spec:\n  a: 1"),
        ("spec:\n  securityContext:\n    f: 1\n    u: 1 # c\n", "spec:\n  securityContext:\n    u: 1 # c\n"),
        ("spec:\n  securityContext:\n    # why\n    f: 1\n", "spec:\n  securityContext:\n    # why\n"),
        ("spec: {securityContext: {f: 1}, a: 1}\n", "spec: {a: 1}\n"),
        ("spec: {a: 1, securityContext: {f: 1}}\n", "spec: {a: 1}\n"),
        ("spec: {a: 1, securityContext: {u: 1, f: 1}}\n", "spec: {a: 1, securityContext: {u: 1}}\n"),
        ("spec: {securityContext: {f: 1}}\n", "spec: {}\n"),
        ("spec:\n  a: 1\n", "spec:\n  a: 1\n"),
    ],
)
def test_what_is_removed_leaves_no_trace(before: str, after: str) -> None:
    assert edited(before, CUT) == after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &s\n  u: 1\nspec:\n  securityContext: *s\n", "shared by the YAML anchor &s"),
        ("a: &s {u: 1}\nspec:\n  <<: *s\n  x: 1\nb: {<<: *s}\n", ""),
        ("a: &s {securityContext: {}}\nspec:\n  <<: *s\n", "comes from a YAML merge key"),
        ("spec:\n  securityContext: x\n", "would stand in what is no mapping"),
        ("spec:\n  securityContext:\n    f:\n      type: [a]\n", "is no string"),
        ("spec:\n  securityContext:\n    f:\n      type:\n", "is null"),
        ("spec:\n  securityContext:\n    f:\n      type: |\n        x\n", "a block scalar"),
        ("spec:\n  securityContext: &x\n", "shared by the YAML anchor"),
        ("? spec\n: ? a\n  : 1\n", ""),
    ],
)
def test_what_can_not_be_done_by_position_is_told(text: str, reason: str) -> None:
    try:
        found = edited(text, SET)
    except UnsafeEdit as error:
        assert reason in str(error)
        assert reason or "?" in text
    else:
        root = tree.parse(text, tree.Place("x"))
        again = tree.parse(found, tree.Place("x"))
        assert not reason
        assert root is not None
        assert again is not None
        assert same(tree.value(again), applied(tree.value(root), SET))


def test_what_the_api_takes_for_the_same() -> None:
    assert same({"securityContext": {}}, {"securityContext": None})
    assert same({"securityContext": {}}, {})
    assert not same({"emptyDir": {}}, {"emptyDir": None})
    assert not same({"emptyDir": {}}, {})
    assert not same({"a": True}, {"a": 1})
    assert not same([1], [1, 2])


def test_an_edit_costs_no_more_than_the_text() -> None:
    """Aliases that stand for half a million values are compared as what they are: shared."""
    lines = ["a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    lines += [f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]" for one, two in zip("abcd", "bcde", strict=True)]
    text = "\n".join([*lines, "spec:", "  a: 1", ""])
    assert edited(text, SET) == text + f"  {LINES}"
