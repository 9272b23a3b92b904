"""`annotate --live` against an API server of ours over real HTTP: rollout, failure, undo, conflicts, missing rights."""

import copy
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aalearn.kubernetes.rollout import progress
from tests.cli.conftest import Done, Face
from tests.cli.conftest import aalearn as aalearn  # the fixture
from tests.conftest import require
from tests.kubernetes.apiserver import CRASHES, ROLE, Stub, serving

KEY = "container.apparmor.security.beta.kubernetes.io/"
FIELD = {"type": "Localhost", "localhostProfile": "web"}


def workload(kind: str = "Deployment", name: str = "web") -> dict[str, Any]:
    spec = {"containers": [{"name": "nginx", "image": "nginx"}, {"name": "log", "image": "log"}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    body: dict[str, Any] = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    if kind == "CronJob":
        template["spec"]["restartPolicy"] = "Never"  # type: ignore[index]
        body = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}
    elif kind == "StatefulSet":
        body |= {"serviceName": "web", "replicas": 2}
    elif kind != "DaemonSet":
        body["replicas"] = 2
    version = "batch/v1" if kind == "CronJob" else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "prod"}, "spec": body}


class Bench:
    """A stub, and `aalearn annotate --live` against it."""

    def __init__(self, stub: Stub, run: Face) -> None:
        self.stub, self._run = stub, run

    def annotate(self, *arguments: str | Path, target: str | Path = "deployment/web") -> Done:
        return self._run("--output", "json", "annotate", "--live", target, "--timeout", "2", *arguments)

    def template(self, plural: str = "deployments", name: str = "web") -> Any:
        return self.stub.objects[plural, "prod", name]["spec"]["template"]


@pytest.fixture
def bench(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    require("lightkube", importlib.util.find_spec("lightkube"))
    monkeypatch.setattr("aalearn.kubernetes.live._PAUSE", 0.01)
    stub = Stub()
    stub.add("deployments", workload())
    with serving(stub, tmp_path) as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield Bench(stub, aalearn)
    assert set(stub.asked) <= ROLE


def test_a_rollout_that_works(bench: Bench) -> None:
    done = bench.annotate("--profile", "web", "--container", "nginx")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["workloads"]
    assert (row["state"], row["name"]) == ("applied", "web")
    assert row["containers"] == [{"container": "nginx", "before": None, "after": "localhost/web"}]
    template = bench.template()
    assert template["metadata"]["annotations"] == {KEY + "nginx": "localhost/web"}
    assert template["spec"]["containers"][0]["securityContext"] == {"appArmorProfile": FIELD}
    assert template["spec"]["containers"][1] == {"name": "log", "image": "log"}
    assert "2 of 2 Pods new" in done.err
    assert len(bench.stub.templates) == 2  # the dry run stored nothing; one rollout
    again = bench.annotate("--profile", "web", "--container", "nginx")
    assert json.loads(again.out)["workloads"][0]["state"] == "unchanged"
    assert len(bench.stub.templates) == 2


def test_what_is_applied_later_keeps_what_was_applied_before(bench: Bench) -> None:
    assert bench.annotate("--profile", "web", "--container", "nginx").code == 0
    assert bench.annotate("--profile", "api", "--container", "log").code == 0
    first, second = bench.template()["spec"]["containers"]
    assert first["securityContext"]["appArmorProfile"]["localhostProfile"] == "web"
    assert second["securityContext"]["appArmorProfile"]["localhostProfile"] == "api"
    assert bench.annotate("--remove", "--container", "nginx").code == 0
    template = bench.template()
    assert "securityContext" not in template["spec"]["containers"][0]
    assert template["metadata"]["annotations"] == {KEY + "log": "localhost/api"}


def test_pods_that_fail_are_undone(bench: Bench) -> None:
    before = copy.deepcopy(bench.template())
    done = bench.annotate("--profile", "absent")
    assert done.code == 1
    (row,) = json.loads(done.out)["workloads"]
    assert row["state"] == "undone"
    assert "apparmor profile not found absent" in row["told"]
    assert bench.template() == before
    assert "the former template is put back" in done.err


def test_programs_that_crash_are_undone(bench: Bench) -> None:
    before = copy.deepcopy(bench.template())
    done = bench.annotate("--profile", CRASHES)
    assert done.code == 1
    assert "crashes again and again" in json.loads(done.out)["workloads"][0]["told"]
    assert bench.template() == before


def test_the_undo_gives_back_another_profile(bench: Bench) -> None:
    assert bench.annotate("--profile", "web").code == 0
    before = copy.deepcopy(bench.template())
    assert bench.annotate("--profile", "absent").code == 1
    assert bench.template() == before


def test_no_undo_over_what_another_has_changed(bench: Bench) -> None:
    def meddle(value: Any) -> None:
        value["spec"]["template"]["spec"]["containers"][1]["image"] = "newer"

    bench.stub.meddle = meddle
    done = bench.annotate("--profile", "absent")
    assert done.code == 1
    assert json.loads(done.out)["workloads"][0]["state"] == "stuck"
    assert "was not undone" in done.err
    assert bench.template()["spec"]["containers"][1]["image"] == "newer"


def test_a_rollout_that_does_not_end_is_undone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.stub, "pods_of", lambda value: [{"metadata": {}, "spec": {}, "status": {"waiting": 1}}])
    done = bench.annotate("--profile", "web", "--timeout", "1")
    assert done.code == 1
    assert "after 1 seconds: 1 of 2 Pods new" in done.err


def test_a_rollout_outlives_a_hiccup_and_needs_no_right_to_see_pods(bench: Bench) -> None:
    bench.stub.hiccups = 3
    done = bench.annotate("--profile", "web")
    assert done.code == 0, done.err
    assert done.err.count("leader changed") == 2  # once for the object, once for its Pods
    bench.stub.role = ROLE - {("list", "pods")}
    done = bench.annotate("--profile", "api")
    assert done.code == 0, done.err
    assert done.err.count("cannot list resource") == 1


def test_a_dry_run_only_asks(bench: Bench) -> None:
    done = bench.annotate("--profile", "web", "--dry-run")
    assert done.code == 0
    assert json.loads(done.out)["workloads"][0]["state"] == "would-change"
    assert len(bench.stub.templates) == 1
    assert bench.stub.asked == [("get", "deployments"), ("patch", "deployments")]


def conflicting(bench: Bench) -> None:
    value = workload()
    value["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {
        "appArmorProfile": {"type": "RuntimeDefault"}
    }
    bench.stub.add("deployments", value, manager="argocd")


def test_a_conflict_names_the_manager_and_can_be_forced(bench: Bench) -> None:
    conflicting(bench)
    done = bench.annotate("--profile", "web")
    assert done.code == 3
    assert 'conflict with "argocd"' in done.err
    assert "--force-conflicts" in done.err
    assert done.err.count("\n") == 1
    assert bench.annotate("--profile", "web", "--force-conflicts").code == 0
    assert bench.template()["spec"]["containers"][0]["securityContext"]["appArmorProfile"] == FIELD


def test_what_others_wrote_is_removed_with_one_rollout(bench: Bench) -> None:
    conflicting(bench)
    before = len(bench.stub.templates)
    assert bench.annotate("--remove").code == 0
    assert "appArmorProfile" not in json.dumps(bench.template())
    assert len(bench.stub.templates) == before + 1


def test_missing_rights_are_told(bench: Bench) -> None:
    bench.stub.role = frozenset({("get", "deployments")})
    done = bench.annotate("--profile", "web")
    assert done.code == 3
    assert 'cannot patch resource "deployments" in the namespace "prod"' in done.err
    assert "docs/kubernetes.md" in done.err
    assert len(bench.stub.templates) == 1


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "CronJob"])
def test_other_kinds(bench: Bench, kind: str) -> None:
    plural = kind.lower() + "s"
    bench.stub.add(plural, workload(kind, "other"))
    done = bench.annotate("--profile", "web", "--all-containers", target=f"{kind.lower()}/other")
    assert done.code == 0, done.err
    assert json.dumps(bench.stub.objects[plural, "prod", "other"]).count('"localhostProfile": "web"') == 2
    if kind != "CronJob":
        assert bench.annotate("--profile", "absent", target=f"{kind.lower()}/other").code == 1
        assert bench.template(plural, "other")["spec"]["containers"][0]["securityContext"]["appArmorProfile"] == FIELD


def test_the_pod_level(bench: Bench) -> None:
    assert bench.annotate("--profile", "web", "--pod").code == 0
    assert bench.template()["spec"]["securityContext"] == {"appArmorProfile": FIELD}
    assert bench.annotate("--remove", "--pod").code == 0
    assert "appArmorProfile" not in json.dumps(bench.template())


def test_workloads_come_from_manifests_too(bench: Bench, tmp_path: Path) -> None:
    bench.stub.add("deployments", workload(name="second"))
    file = tmp_path / "both.yaml"
    file.write_text(yaml.safe_dump_all([workload(), workload(name="second")]))
    done = bench.annotate("--profile", "web", target=file)
    assert done.code == 0, done.err
    assert [row["name"] for row in json.loads(done.out)["workloads"]] == ["web", "second"]
    done = bench.annotate("--profile", "absent", target=file)
    assert done.code == 1
    assert "1 more left as they are" in done.err
    assert [row["state"] for row in json.loads(done.out)["workloads"]] == ["undone"]


@pytest.mark.parametrize(
    ("target", "arguments", "hint"),
    [
        ("deployment/none", ["--profile", "web"], "there is no Deployment prod/none"),
        ("deployment/web", ["--profile", "web", "--container", "x"], "there are nginx, log"),
        ("pod/web", ["--profile", "web"], "delete it and create it anew"),
        ("job/web", ["--profile", "web"], "a Job's template can't be changed"),
        ("deployment/web", ["--profile", "web", "--context", "absent"], "Context 'absent' not found"),
        ("service/web", ["--profile", "web"], "can't read service/web"),
    ],
)
def test_what_can_not_be_is_one_line(bench: Bench, target: str, arguments: list[str], hint: str) -> None:
    done = bench.annotate(*arguments, target=target)
    assert (done.code, done.out) == (2, "")
    assert hint in done.err
    assert done.err.count("\n") == 1


def test_a_server_that_does_not_know_the_field(bench: Bench) -> None:
    bench.stub.version = "1.29"
    done = bench.annotate("--profile", "web", "--style", "field")
    assert done.code == 3
    assert "--style annotation" in done.err
    assert len(bench.stub.templates) == 1
    assert bench.annotate("--profile", "web", "--style", "annotation").code == 0


def test_a_map_and_what_it_does_not_name(bench: Bench, tmp_path: Path) -> None:
    bench.stub.add("deployments", workload(name="second"))
    file, lines = tmp_path / "both.yaml", tmp_path / "map"
    file.write_text(yaml.safe_dump_all([workload(), workload(name="second")]))
    lines.write_text("second/nginx: web\n")
    done = bench.annotate("--map", lines, target=file)
    assert done.code == 0, done.err
    assert [row["state"] for row in json.loads(done.out)["workloads"]] == ["unchanged", "applied"]


def test_what_was_done_before_an_error_is_told(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text(yaml.safe_dump_all([workload(), workload(name="absent")]))
    done = bench.annotate("--profile", "web", target=file)
    assert done.code == 2
    assert "there is no Deployment prod/absent" in done.err
    assert [row["state"] for row in json.loads(done.out)["workloads"]] == ["applied"]


def test_a_cluster_that_does_not_answer(aalearn: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Stub(), tmp_path) as config:
        pass
    monkeypatch.setenv("KUBECONFIG", str(config))
    done = aalearn("annotate", "--live", "deployment/web", "--profile", "web")
    assert done.code == 3
    assert "the cluster does not answer" in done.err
    for text, hint in (("[", "damaged"), ("{}", "damaged"), ("a: b", "damaged")):
        config.write_text(text)
        done = aalearn("annotate", "--live", "deployment/web", "--profile", "web")
        assert done.code == 2
        assert hint in done.err
        assert done.err.count("\n") == 1
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    assert "not found" in aalearn("annotate", "--live", "deployment/web", "--profile", "web").err


def test_without_lightkube_the_extra_is_named(aalearn: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "lightkube", None)
    done = aalearn("annotate", "--live", "deployment/web", "--profile", "web")
    assert done.code == 2
    assert "pip install 'aalearn[kubernetes]'" in done.err


def test_check_pods_asks_the_cluster(bench: Bench, aalearn: Face) -> None:
    bench.annotate("--profile", "web", "--container", "nginx")
    bench.stub.loaded.remove("web")
    done = aalearn("--output", "json", "check-pods", "--live", "--namespace", "prod")
    assert done.code == 1
    (finding,) = json.loads(done.out)["findings"]
    assert finding["code"] == "not-loaded"
    assert "apparmor profile not found web" in finding["text"]


@pytest.mark.parametrize(
    ("spec", "status", "done", "failed"),
    [
        ({"replicas": 1}, {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}, False, True),
        ({}, {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]}, False, True),
        ({"paused": True}, {}, True, False),
        ({"replicas": 2}, {"updatedReplicas": 2, "replicas": 3, "availableReplicas": 3}, False, False),
        ({"replicas": 2}, {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}, True, False),
        ({"replicas": 0}, {}, True, False),
    ],
)
def test_how_far_a_deployment_is(spec: Any, status: Any, done: bool, failed: bool) -> None:
    found = progress({"kind": "Deployment", "metadata": {}, "spec": spec, "status": status})
    assert (found.done, bool(found.failed)) == (done, failed)


def test_how_far_sets_are() -> None:
    on_delete = {"updateStrategy": {"type": "OnDelete"}}
    assert "OnDelete" in progress({"kind": "DaemonSet", "spec": on_delete}).told
    parted = {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}}
    assert progress({"kind": "StatefulSet", "spec": parted, "status": {"updatedReplicas": 1, "readyReplicas": 3}}).done
    assert not progress({"kind": "StatefulSet", "spec": {}, "status": {"updatedReplicas": 1, "readyReplicas": 0}}).done
    assert not progress({"kind": "DaemonSet", "metadata": {"generation": 2}, "status": {"observedGeneration": 1}}).done
