"""check-pods: the exact texts of kubelets and runtimes, nodes, effective profiles, and what a person types."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from aalearn.kubernetes import nodes, pods
from aalearn.kubernetes.nodes import Node
from aalearn.kubernetes.profiles import PREFIX
from aalearn.kubernetes.symptoms import Cause, crashing, explain, symptoms
from aalearn.model.errors import BadInput
from tests.cli.conftest import Face, program
from tests.cli.conftest import aalearn as aalearn  # the fixture
from tests.cli.schemas import fits

LOCAL = {"appArmorProfile": {"type": "Localhost", "localhostProfile": "web"}}
REPORT = {
    "schema": int,
    "nodes": [str],
    "unknown_nodes": [str],
    "containers": [
        {"kind": str, "namespace": str, "name": str, "container": str, "node": str, "said_by": str, "state": str}
    ],
    "findings": [
        {"level": str, "code": str, "kind": str, "name": str, "container": str, "node": str, "text": str, "do": str}
    ],
}


def pod(name: str = "web", node: str = "n1", **spec: Any) -> dict[str, Any]:
    body = {"nodeName": node, "containers": [{"name": "c", "image": "x", "securityContext": LOCAL}], **spec}
    if not node:
        del body["nodeName"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "prod"}, "spec": body}


def waiting(message: str, reason: str = "CreateContainerError") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {**pod(), "status": {"phase": "Pending", "containerStatuses": [{"name": "c", "state": state}]}}


@pytest.mark.parametrize(
    ("message", "cause", "name", "speaker"),
    [
        (
            "failed to get container spec opts: failed to generate apparmor spec opts: apparmor profile not found web",
            Cause.NOT_LOADED,
            "web",
            "containerd",
        ),
        (
            "failed to create containerd task: OCI runtime create failed: runc create failed: "
            "unable to start container process: error during container init: "
            "unable to apply apparmor profile: apparmor "
            "failed to apply profile: write /proc/self/attr/apparmor/exec: no such file or directory: unknown",
            Cause.NOT_LOADED,
            "",
            "runc",
        ),
        (
            "unable to apply apparmor profile: apparmor failed to apply profile: write "
            "fsmount:fscontext:proc/thread-self/attr/apparmor/exec: no such file or directory",
            Cause.NOT_LOADED,
            "",
            "runc",
        ),
        ("write file `/proc/thread-self/attr/apparmor/exec`: No such file or directory", Cause.NOT_LOADED, "", "crun"),
        ('AppArmor profile "web" specified but not loaded', Cause.NOT_LOADED, "web", "podman"),
        ('Cannot enforce AppArmor: profile "web" is not loaded', Cause.NOT_LOADED, "web", "kubelet"),
        ("Cannot enforce AppArmor: AppArmor is not enabled on the host", Cause.OFF, "", "kubelet"),
        ('Cannot enforce AppArmor: invalid AppArmor profile name: "x"', Cause.OFF, "", "kubelet"),
        (
            "unable to apply apparmor profile: write /proc/self/attr/apparmor/exec: permission denied",
            Cause.DENIED,
            "",
            "kernel",
        ),
    ],
)
def test_what_kubelets_and_runtimes_say(message: str, cause: Cause, name: str, speaker: str) -> None:
    found = explain(message)
    assert found is not None
    assert (found.cause, found.profile, found.speaker) == (cause, name, speaker)


@pytest.mark.parametrize(
    "message", ["", "Back-off pulling image", "secret not found", 'exec: "x": no such file or directory']
)
def test_other_troubles_are_not_ours(message: str) -> None:
    assert explain(message) is None


def test_a_blocked_pod_is_final_and_a_running_one_is_fine() -> None:
    blocked = {
        **pod(),
        "status": {"reason": "Blocked", "message": 'Cannot enforce AppArmor: profile "web" is not loaded'},
    }
    (found,) = symptoms(blocked)
    assert found.final
    (found,) = symptoms({**pod(), "status": {"reason": "Blocked"}})
    assert found.cause is Cause.OFF
    started = {
        "name": "c",
        "state": {"running": {}},
        "lastState": {"terminated": {"message": "apparmor profile not found a"}},
    }
    assert not [*symptoms({**pod(), "status": {"containerStatuses": [started]}})]
    assert [*symptoms({**pod(), "status": {"containerStatuses": [{**started, "state": {"waiting": {}}}]}})]
    for odd in (None, [], [None], [{"state": 1}], "x"):
        assert not [*symptoms({"status": {"containerStatuses": odd}})]
        assert crashing({"status": {"containerStatuses": odd}}) == ""


@pytest.mark.parametrize(
    ("spec", "labels", "taints", "runs"),
    [
        ({}, {}, [], True),
        ({"nodeSelector": {"a": "b"}}, {}, [], False),
        ({"nodeSelector": {"a": "b"}}, {"a": "b"}, [], True),
        ({}, {}, [{"key": "k", "effect": "NoSchedule"}], False),
        ({}, {}, [{"key": "k", "effect": "PreferNoSchedule"}], True),
        ({"tolerations": [{"operator": "Exists"}]}, {}, [{"key": "k", "effect": "NoSchedule"}], True),
        ({"tolerations": [{"key": "k", "value": "v"}]}, {}, [{"key": "k", "value": "v", "effect": "NoExecute"}], True),
        ({"tolerations": [{"key": "k", "effect": "NoExecute"}]}, {}, [{"key": "k", "effect": "NoSchedule"}], False),
    ],
)
def test_where_a_pod_may_run(spec: Any, labels: Any, taints: Any, runs: bool) -> None:
    node = Node("n", {}, {"metadata": {"name": "n", "labels": labels}, "spec": {"taints": taints}})
    assert bool(nodes.may_run(spec, [node])) is runs


@pytest.mark.parametrize(
    ("operator", "values", "runs"),
    [
        ("In", ["1", "5"], True),
        ("NotIn", ["5"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
        ("Gt", ["4"], True),
        ("Lt", ["4"], False),
        ("Gt", ["x"], False),
        ("Like", ["5"], False),
    ],
)
def test_node_affinity(operator: str, values: Any, runs: bool) -> None:
    node = Node("n", {}, {"metadata": {"name": "n", "labels": {"k": "5"}}})
    terms = [{"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    assert bool(nodes.may_run({"affinity": {"nodeAffinity": required}}, [node])) is runs


def test_what_a_node_has_loaded() -> None:
    assert nodes.parse_loaded("a (enforce)\n/usr/bin/b c (complain)\n", "f") == {
        "a": "enforce",
        "/usr/bin/b c": "complain",
    }
    assert nodes.parse_loaded('{"version": "2", "profiles": {"a": "enforce"}, "processes": {}}', "f") == {
        "a": "enforce"
    }
    assert nodes.parse_loaded('{"schema": 1, "profiles": [{"name": "a", "mode": "kill"}]}', "f") == {"a": "kill"}
    assert nodes.parse_loaded("", "f") == {}
    for text in ("{", "{}", "apparmor module is loaded.\n", "a (b)", '{"profiles": 1}'):
        with pytest.raises(BadInput):
            nodes.parse_loaded(text, "f")


def states(values: list[Any], known: list[Node]) -> list[tuple[str, str, str, str]]:
    rows = pods.check(values, known).rows
    return [(row.container.name, row.node, str(row.confinement), row.state) for row in rows]


def test_the_effective_profile_of_each_container() -> None:
    spec: dict[str, Any] = {
        "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}},
        "initContainers": [{"name": "i"}],
        "containers": [{"name": "c", "securityContext": LOCAL}, {"name": "d"}],
        "ephemeralContainers": [{"name": "e", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}}],
    }
    value = pod(**spec)
    value["metadata"]["annotations"] = {PREFIX + "d": "localhost/annotated"}
    found = pods.check([value], [Node("n1", {"web": "complain"})])
    assert [(row.container.name, str(row.confinement), row.said_by, row.state) for row in found.rows] == [
        ("c", "localhost/web", "field", "complain"),
        ("d", "localhost/annotated", "annotation", "not loaded"),
        ("i", "runtime/default", "Pod's field", ""),
        ("e", "unconfined", "field", ""),
    ]
    assert {one.code for one in found.troubles} == {"disagree", "not-loaded", "unconfined"}


def test_templates_and_pods_without_a_node_are_looked_for_on_all_that_may() -> None:
    known = [Node("n1", {"web": "enforce"}), Node("n2", {})]
    tainted = {"kind": "Node", "metadata": {"name": "n2"}, "spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}}
    template = {"spec": pod()["spec"]}
    del template["spec"]["nodeName"]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": template},
    }
    for value in (pod(node=""), deployment):
        assert states([value], known) == [
            ("c", "n1", "localhost/web", "enforce"),
            ("c", "n2", "localhost/web", "not loaded"),
        ]
        assert states([{"kind": "List", "items": [value, tainted]}], known) == [("c", "n1", "localhost/web", "enforce")]
    assert "where it may run" in pods.check([deployment], known).troubles[0].text
    typed = {"kind": "PodList", "apiVersion": "v1", "items": [{key: pod()[key] for key in ("metadata", "spec")}]}
    assert states([typed], known) == [("c", "n1", "localhost/web", "enforce")]


def test_this_machine_counts_only_where_it_is_a_node() -> None:
    here = Node("laptop", {})
    assert not pods.check([pod(node="")], [], here).troubles
    assert pods.check([pod(node="laptop")], [], here).troubles[0].code == "not-loaded"


@pytest.mark.parametrize(
    ("value", "loaded", "text", "mend"),
    [
        (waiting("apparmor profile not found web"), {}, "the profile web is not loaded on n1", "tries again by itself"),
        (waiting("apparmor profile not found web"), {"web": "enforce"}, "is by now (enforce)", "tries again"),
        (
            waiting("write /proc/self/attr/apparmor/exec: no such file or directory"),
            {},
            "the profile web is",
            "promote web",
        ),
        (waiting("write /proc/self/attr/apparmor/exec: permission denied"), {}, "may not change to web", "-> web"),
        (
            waiting("Cannot enforce AppArmor: AppArmor is not enabled on the host"),
            None,
            "AppArmor is off on n1",
            "doctor",
        ),
        (
            {
                **pod("old"),
                "status": {"reason": "Blocked", "message": 'Cannot enforce AppArmor: profile "web" is not loaded'},
            },
            {},
            "the profile web is not loaded",
            "kubectl delete pod -n prod old",
        ),
        (
            {**pod(), "status": {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}},
            {},
            "runs on, but would not start again",
            "aalearn promote web",
        ),
        (pod(runtimeClassName="kata"), {"web": "enforce"}, "is Kata Containers", "annotate --remove"),
    ],
)
def test_why_and_what_to_do(value: Any, loaded: Any, text: str, mend: str) -> None:
    report = pods.check([value], [Node("n1", loaded)] if loaded is not None else [])
    (one,) = [trouble for trouble in report.troubles if trouble.level == "error"]
    assert text in one.text
    assert mend in one.mend
    assert report.errors == 1


def test_as_a_person_types_it(aalearn: Face, tmp_path: Path) -> None:
    file, loaded = tmp_path / "pods.json", tmp_path / "n1"
    items = [pod("a"), waiting("apparmor profile not found web"), pod("b", "n2"), pod("\x1b[31mred")]
    file.write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": items}))
    loaded.write_text("docker-default (enforce)\n")
    done = aalearn("--output", "json", "check-pods", "--from", file, "--node", f"n1={loaded}")
    assert done.code == 1
    document = json.loads(done.out)
    fits(document, REPORT)
    assert [(one["level"], one["code"]) for one in document["findings"]] == [
        ("error", "not-loaded"),
        ("error", "not-loaded"),
        ("error", "not-loaded"),
    ]
    done = aalearn("check-pods", "--from", file, "--node", f"n1={loaded}")
    assert "\x1b" not in done.out
    assert "prod       web" in done.out
    assert "  do: on n1: aalearn promote web" in done.out
    assert "4 Pods and templates" in done.err
    assert document["unknown_nodes"] == ["n2"]
    assert "what n2 loaded is not known" in done.err
    loaded.write_text("web (enforce)\n")
    file.write_text(yaml.safe_dump_all([pod("a"), pod("c", runtimeClassName="untrusted")]))
    classes = tmp_path / "classes.yaml"
    classes.write_text("kind: RuntimeClass\napiVersion: node.k8s.io/v1\nmetadata: {name: untrusted}\nhandler: runsc\n")
    assert aalearn("check-pods", "--from", file, "--node", f"n1={loaded}").code == 0
    done = aalearn("check-pods", "--from", file, "--from", classes, "--node", f"n1={loaded}")
    assert done.code == 1
    assert "the RuntimeClass untrusted is gVisor" in done.out
    assert aalearn("check-pods", "--from", file, "--namespace", "other").out == ""


def test_containers_without_a_profile_on_demand(aalearn: Face, tmp_path: Path) -> None:
    file = tmp_path / "pods.yaml"
    file.write_text(yaml.safe_dump(pod(containers=[{"name": "plain", "image": "x"}])))
    assert aalearn("check-pods", "--from", file).out == ""
    assert "plain" in aalearn("check-pods", "--from", file, "--all").out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "kubectl get pods -A -o json | aalearn check-pods --from -"),
        (["--from", "absent"], "can't read absent"),
        (["--from", "FILE", "--node", "n1"], "write --node NAME=FILE"),
        (["--from", "FILE", "--node", "n1=absent"], "can't read absent"),
        (["--from", "FILE", "--context", "x"], "--context goes with --live"),
    ],
)
def test_wrong_use_is_one_line(aalearn: Face, tmp_path: Path, arguments: list[str], hint: str) -> None:
    file = tmp_path / "pods.json"
    file.write_text('{"kind": "List", "items": []}')
    done = aalearn("check-pods", *(str(file) if one == "FILE" else one for one in arguments))
    assert (done.code, done.out) == (2, "")
    assert hint in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("raw", [b"\xff", b"[" * 100_000, b'{"kind": "Pod", "kind": [}', b"kind: Pod\nkind: Pod\n"])
def test_unfit_input_is_one_line(raw: bytes) -> None:
    done = program("check-pods", "--from", "-", stdin=raw)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "hello world\n", "{}", "[]", "null", "# a comment\n", '{"items": []}'])
def test_input_without_any_object_is_no_clean_cluster(aalearn: Face, tmp_path: Path, content: str) -> None:
    """A kubectl that failed leaves the pipe empty."""
    file = tmp_path / "pods"
    file.write_text(content)
    done = aalearn("check-pods", "--from", file)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    file.write_text('{"apiVersion": "v1", "kind": "List", "items": []}')
    assert aalearn("check-pods", "--from", file).code == 0
