"""Every workload kind in every style: the edited manifest as it shall be, fit for every API version; real kubectl makes
the same of our patches.

`AALEARN_WRITE_GOLDEN=1 pytest tests/kubernetes/test_golden.py` writes the files anew; look at the difference.
"""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions, major_minor

from aalearn.kubernetes import checks, manifests, patches
from aalearn.kubernetes.choice import Choice
from aalearn.kubernetes.edits import same
from aalearn.kubernetes.profiles import Confinement, Style
from aalearn.kubernetes.rewrite import Result, rewrite
from tests.conftest import require

HERE = Path(__file__).parent / "golden"
KINDS = (
    "pod",
    "deployment",
    "statefulset",
    "daemonset",
    "replicaset",
    "replicationcontroller",
    "job",
    "cronjob",
    "podtemplate",
    "list",
    "stream",
)
CHOICES = {
    "main": Choice(Confinement("Localhost", "web-7f3a")),
    "every": Choice(Confinement("Localhost", "web-7f3a"), every=True),
    "named": Choice(Confinement("Localhost", "setup"), containers=frozenset({"setup"})),
    "pod": Choice(Confinement("Localhost", "web-7f3a"), pod=True),
    "remove": Choice(remove=True),
}
CASES = [(kind, style, "main") for kind in KINDS for style in Style]
CASES += [("pod", Style.BOTH, choice) for choice in ("every", "named", "pod", "remove")]
CASES += [("deployment", Style.FIELD, "pod"), ("cronjob", Style.BOTH, "every"), ("deployment", Style.BOTH, "remove")]


@pytest.fixture(scope="session")
def kubectl() -> str:
    found = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    require("kubectl", found)
    assert found is not None
    return found


def read(kind: str) -> str:
    return (HERE / f"{kind}.yaml").read_bytes().decode()


def results(text: str, style: Style, choice: str) -> list[Result]:
    return [rewrite(document, CHOICES[choice], style, {}) for document in manifests.parse(text, "golden")]


@cache
def edited(kind: str, style: Style, choice: str) -> str:
    return "".join(result.text for result in results(read(kind), style, choice))


@pytest.mark.parametrize(("kind", "style", "choice"), CASES)
def test_the_edited_manifest_is_as_it_shall_be(kind: str, style: Style, choice: str) -> None:
    golden = HERE / f"{kind}.{style}.{choice}.yaml"
    found = edited(kind, style, choice)
    if os.environ.get("AALEARN_WRITE_GOLDEN"):
        golden.write_bytes(found.encode())
    assert found == golden.read_bytes().decode()
    again = results(found, style, choice)
    assert "".join(result.text for result in again) == found
    assert not [plan for result in again for plan in result.plans if plan.changes]


def objects(text: str) -> list[Any]:
    found: list[Any] = []
    for one in yaml.safe_load_all(text):
        found += one["items"] if one and one["kind"] == "List" else [one] if one else []
    return found


@pytest.mark.parametrize("version", sorted({major_minor(version) for version in all_versions()}))
def test_every_api_version_accepts_what_is_written_for_it(version: str) -> None:
    new = tuple(map(int, version.split(".")[:2])) >= (1, 30)
    for kind, style, choice in CASES:
        if choice != "remove" and (new or style is Style.ANNOTATION):
            for one in objects(edited(kind, style, choice)):
                kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize(("kind", "style", "choice"), CASES)
def test_nothing_stands_against_what_is_written(kind: str, style: Style, choice: str) -> None:
    for document in manifests.parse(edited(kind, style, choice), "golden"):
        for workload in document.workloads():
            assert not [one for one in checks.findings(workload, {}) if one.level is checks.Level.ERROR]


@pytest.mark.parametrize(
    ("kind", "style", "choice"),
    [(kind, Style.BOTH, "main") for kind in KINDS[:-2]]
    + [("pod", Style.BOTH, "remove"), ("cronjob", Style.BOTH, "every")],
)
@pytest.mark.parametrize("form", ["strategic", "json"])
def test_kubectl_patch_makes_the_same(
    kubectl: str, tmp_path: Path, kind: str, style: Style, choice: str, form: str
) -> None:
    (result,) = (one for one in results(read(kind), style, choice) if one.plans)
    (plan,) = result.plans
    body = patches.strategic(plan) if form == "strategic" else patches.json_patch(plan)
    (tmp_path / "object.yaml").write_text(read(kind))
    done = subprocess.run(
        [kubectl, "patch", "--local", "-f", "object.yaml", "--type", form, "-p", json.dumps(body), "-o", "json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    (wanted,) = objects(edited(kind, style, choice))
    assert same(_without_defaults(json.loads(done.stdout)), wanted)


def _without_defaults(value: Any) -> Any:
    """Drop what kubectl's types add: empty status, resources, strategy and creationTimestamp."""
    if isinstance(value, dict):
        kept = {key: _without_defaults(inner) for key, inner in value.items()}
        added = ("status", "resources", "strategy", "updateStrategy", "creationTimestamp")
        return {key: inner for key, inner in kept.items() if not (key in added and inner in ({}, None))}
    return [_without_defaults(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("choice", ["main", "remove", "pod"])
def test_kubectl_kustomize_makes_the_same_of_all_kinds(kubectl: str, tmp_path: Path, choice: str) -> None:
    plans, names, wanted = [], [], []
    for kind in KINDS[:-2]:
        names.append(f"{kind}.yaml")
        (tmp_path / names[-1]).write_text(read(kind))
        done = results(read(kind), Style.BOTH, choice)
        plans += [plan for result in done for plan in result.plans if plan.changes]
        wanted += objects("".join(result.text for result in done))
    (tmp_path / "kustomization.yaml").write_text(patches.kustomization(plans, names))
    ran = subprocess.run(
        [kubectl, "kustomize", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "PATH": ""},
    )
    assert ran.returncode == 0, ran.stderr
    made = {(one["kind"], one["metadata"]["name"]): one for one in objects(ran.stdout)}
    assert len(made) == len(wanted)
    for one in wanted:
        assert same(made[one["kind"], one["metadata"]["name"]], one), one["kind"]
