"""Two hundred manifests of every hand: an edit adds its own lines, changes nothing else, and can be taken back."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from aalearn.kubernetes import manifests
from aalearn.kubernetes.choice import Choice
from aalearn.kubernetes.profiles import FIELD, PREFIX, Confinement, Style
from aalearn.kubernetes.rewrite import Result, rewrite
from tests.kubernetes.generator import KINDS, sample

PATHS = {kind: path for _, kind, path in KINDS}
OURS = re.compile(
    r"\s*(?:- )?(?:securityContext:|appArmorProfile:|type: Localhost|localhostProfile: \S+|metadata:|annotations:|"
    r"container\.apparmor\.security\.beta\.kubernetes\.io/\S+: localhost/\S+)\s*"
)
EMPTY = re.compile(r"^(\s*(?:- +)?\S+:) *(?:\{\}|null|~)")
WEB = Choice(Confinement("Localhost", "web-7f3a"))


def rewritten(text: str, choice: Choice = WEB, style: Style = Style.BOTH) -> tuple[str, list[Result]]:
    results = [rewrite(document, choice, style, {}) for document in manifests.parse(text, "test.yaml")]
    return "".join(result.text for result in results), results


def expected(text: str, style: Style) -> list[Any]:
    """Return, by another YAML library and other code, what the documents should mean afterwards."""
    documents = [copy.deepcopy(one) for one in yaml.safe_load_all(text.removeprefix("\ufeff"))]
    for one in documents:
        if not isinstance(one, dict) or one.get("kind") not in PATHS:
            continue
        template = one
        for key in PATHS[one["kind"]]:
            template = template[key]
        for container in template["spec"]["containers"]:
            if style.field:
                container["securityContext"] = {
                    **(container.get("securityContext") or {}),
                    FIELD: {"type": "Localhost", "localhostProfile": "web-7f3a"},
                }
            if style.annotation:
                metadata = template.setdefault("metadata", {})
                metadata["annotations"] = {
                    **(metadata.get("annotations") or {}),
                    PREFIX + container["name"]: "localhost/web-7f3a",
                }
    return documents


def without_ours(before: str, after: str) -> Iterator[str]:
    """Yield the lines that were added; fail where a line is missing or not in its order."""
    old = iter(before.splitlines(keepends=True))
    want = next(old, None)
    for line in after.splitlines(keepends=True):
        if want is not None and (
            line.rstrip("\r\n") == want.rstrip("\r\n")
            or line.rstrip() == EMPTY.sub(r"\1", want).rstrip()  # it was empty, and is filled now
            or ("}" in want and line.startswith(want.partition("}")[0] + ", "))  # in braces: more at its end
        ):
            want = next(old, None)
        else:
            yield line
    assert want is None, f"lost: {want!r}"


@pytest.mark.parametrize(
    ("style", "seeds"),
    [(Style.BOTH, range(start, start + 50)) for start in range(0, 200, 50)]
    + [(Style.FIELD, range(40)), (Style.ANNOTATION, range(40))],
)
def test_every_byte_that_was_not_meant_is_kept(style: Style, seeds: range) -> None:
    for seed in seeds:
        made = sample(seed)
        after, results = rewritten(made.text, style=style)
        held = [plan for result in results for plan in result.plans]
        assert len(held) == made.workloads, seed
        assert not [result.unsafe for result in results if result.unsafe], (seed, results)
        assert list(yaml.safe_load_all(after.removeprefix("\ufeff"))) == expected(made.text, style), seed
        for line in without_ours(made.text, after):
            assert OURS.fullmatch(line), (seed, line)
        assert after.startswith("\ufeff") == made.text.startswith("\ufeff")
        assert ("\r\n" in made.text) == ("\r\n" in after)
        assert re.search(r"(?<!\r)\n", after) is None or "\r\n" not in made.text, seed
        assert after.endswith("\n") == made.text.endswith("\n"), seed
        assert rewritten(after, style=style)[0] == after, seed
        back = rewritten(after, Choice(remove=True))[0]
        if not re.search(
            r"(?:securityContext|annotations)\"?:( *(?:\{\}|null|~))? *(#.*)?\r?$", made.text, re.MULTILINE
        ):
            assert back == made.text, seed
        assert "appArmorProfile" not in back
        assert PREFIX not in back


def test_the_manifests_are_varied() -> None:
    texts = [sample(seed).text for seed in range(200)]
    for mark in ("\r\n", "\ufeff", "{{", "&here", "|\n", ">-", "\t", "%YAML", "# before\n---", "securityContext: {}"):
        assert sum(mark in text for text in texts) >= 3, mark
    assert len(set(texts)) == 200


@pytest.mark.parametrize("indent", [None, 2, 4, "\t"])
def test_json_stays_json(indent: Any) -> None:
    for seed in range(40):
        documents = [one for one in yaml.safe_load_all(sample(seed).text.removeprefix("\ufeff")) if one]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}, indent=indent) + "\n"
        if indent is None and seed % 2:
            text = json.dumps(json.loads(text), separators=(",", ":"))
        after, results = rewritten(text)
        assert not [result.unsafe for result in results if result.unsafe]
        items = json.loads(after)["items"]
        assert items == [one for one in expected(yaml.safe_dump_all(documents), Style.BOTH) if one], seed
        assert rewritten(after)[0] == after
        assert after.count("\n") == text.count("\n") or indent is not None
        if indent is not None and "{}" not in text and "null" not in text:
            assert after == json.dumps(json.loads(after), indent=indent) + "\n"
            assert rewritten(after, Choice(remove=True))[0] == text
