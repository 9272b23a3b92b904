"""Hostile names, and manifests of any bytes: a name never leaves its place, and nothing ends with a traceback."""

import json
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aalearn.kubernetes import manifests, patches, tree
from aalearn.kubernetes.choice import Choice
from aalearn.kubernetes.profiles import FIELD, LONGEST, PREFIX, Confinement, Style, name_problem
from aalearn.kubernetes.rewrite import rewrite
from aalearn.kubernetes.spelling import bare, quoted
from aalearn.model.errors import AalearnError, UsageError
from tests.kubernetes.generator import sample

WORDS = "yes null ~ 1 0x1f 1e3 2001-01-01 {a} [a] *a &a !a | > ' \" a'b a\"b a\\ %a @a `a << = ä 😀 . localhost/a"
NAMES = st.text(min_size=1, max_size=40) | st.sampled_from([*WORDS.split(), "a: b", "a #b", "- a", "{{ a }}", "a\tb"])
POD = """kind: Pod
apiVersion: v1
metadata: {name: a}
spec:
  containers:
  - name: block
    image: x
  - {name: flow, image: x}
  - name: single
    securityContext: {appArmorProfile: {type: 'Unconfined'}}
  - name: double
    securityContext:
      appArmorProfile: {type: "Localhost", localhostProfile: 'old'}
  - name: plain
    securityContext:
      appArmorProfile:
        type: Localhost
        localhostProfile: old # kept
"""
CONTAINERS = ("block", "flow", "single", "double", "plain")


@given(NAMES)
def test_a_name_stays_a_name(name: str) -> None:
    try:
        profile = Confinement.parse(name)
    except UsageError as error:
        assert name_problem(name.removeprefix("localhost/"))
        assert "\n" not in str(error)
        return
    if profile.type != "Localhost":
        return
    want = name.removeprefix("localhost/")
    field = {"type": "Localhost", "localhostProfile": want}
    choice = Choice(profile)
    for text in (POD, json.dumps(yaml.safe_load(POD)), json.dumps(yaml.safe_load(POD), indent=2)):
        (document,) = manifests.parse(text, "x")
        result = rewrite(document, choice, Style.BOTH, {})
        assert not result.unsafe
        (plan,) = result.plans
        for made in (result.text, result.anew, patches.yaml(patches.strategic(plan)), _kustomized(plan)):
            value: Any = yaml.safe_load(made)
            fields = [one["securityContext"][FIELD] for one in value["spec"]["containers"]]
            assert [one["localhostProfile"] for one in fields] == [want] * len(CONTAINERS)
            if made in (result.text, result.anew):
                assert fields == [field] * len(CONTAINERS)
            assert value["metadata"]["annotations"] == {PREFIX + one: f"localhost/{want}" for one in CONTAINERS}
        if text.startswith("{"):
            assert json.loads(result.text) == yaml.safe_load(result.text)


def _kustomized(plan: Any) -> str:
    (patch,) = yaml.safe_load(patches.kustomization([plan], []))["patches"]
    return str(patch["patch"])


@given(st.text(max_size=60))
def test_every_string_is_spelled_so_that_it_reads_as_itself(text: str) -> None:
    assert yaml.safe_load(quoted(text)) == text
    assert yaml.safe_load(f"- {bare(text)}\n") == [text]
    assert yaml.safe_load(f"{{{bare(text)}: {bare(text)}}}") == {text: text}
    root = tree.parse(f"{bare(text)}: {bare(text)}", tree.Place("x"))
    assert root is not None
    assert tree.value(root) == {text: text}


def test_names_of_the_greatest_length() -> None:
    assert name_problem("ä" * (LONGEST // 2)) == ""
    assert name_problem("ä" * (LONGEST // 2 + 1))


@settings(max_examples=300)
@given(st.integers(0, 199), st.data())
def test_damaged_manifests_never_end_in_a_traceback(seed: int, data: st.DataObject) -> None:
    text = sample(seed).text
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 5))
        text = (
            text[:at]
            + data.draw(st.text("{}[]:,-#&*!|>'\"%@ \t\r\n\ufeff\u2028\x85a1~\\?", max_size=3))
            + text[at + cut :]
        )
    _never_a_traceback(text)


@given(st.text("{}[]:,-#&*!|>'\"%@ \t\r\n\ufeffa1~\\?<=", max_size=60))
@example("&a {k: *a}")
@example("? \n: [")
@example("!<")
def test_any_text_behind_a_workload(text: str) -> None:
    _never_a_traceback("kind: Pod\napiVersion: v1\nspec:\n  containers:\n  - name: c\n    x: " + text)


def _never_a_traceback(text: str) -> None:
    try:
        documents = manifests.parse(text, "x")
    except AalearnError as error:
        assert "\n" not in str(error)
        return
    assert "".join(document.text for document in documents) == text
    for document in documents:
        result = rewrite(document, Choice(Confinement("Localhost", "web")), Style.BOTH, {})
        if result.text != document.text:
            again = manifests.parse(result.text, "x")
            assert not [
                plan
                for one in again
                for plan in rewrite(one, Choice(Confinement("Localhost", "web")), Style.BOTH, {}).plans
                if plan.changes
            ]
