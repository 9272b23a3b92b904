"""`aalearn annotate` as a person types it."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Face, clean_environment, program
from tests.cli.schemas import fits

POD = """# mine
apiVersion: v1
kind: Pod
metadata:
  name: "web"   # a name
spec:
  containers:
  - name: nginx
    image: nginx
  - {name: log, image: log}
"""
PREFIX = "container.apparmor.security.beta.kubernetes.io/"
HELM = """{{- if .Values.on }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "web.fullname" . }}
spec:
  template:
    spec:
      containers:
        - name: NAME
          image: "{{ .Values.image }}"
          securityContext:
            {{- toYaml .Values.security | nindent 12 }}
{{- end }}
"""
ANNOTATE = {
    "schema": int,
    "refused": bool,
    "changed": int,
    "text": str,
    "backups": [{"file": str, "backup": str}],
    "workloads": [
        {
            "file": str,
            "kind": str,
            "namespace": str,
            "name": str,
            "changed": bool,
            "unsafe": str,
            "containers": [
                {"container": str, "level": str, "before": (str, type(None)), "after": (str, type(None))},
            ],
            "findings": [{"level": str, "code": str, "container": str, "text": str}],
        }
    ],
}


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    return path


def test_prints_the_edited_manifest(aalearn: Face, pod: Path) -> None:
    done = aalearn("annotate", pod, "--profile", "web", "--container", "nginx")
    assert done.code == 0
    assert done.out == POD.replace(
        '"web"   # a name\n', f'"web"   # a name\n  annotations:\n    {PREFIX}nginx: localhost/web\n'
    ).replace(
        "image: nginx\n",
        "image: nginx\n    securityContext:\n      appArmorProfile:\n        type: Localhost\n"
        "        localhostProfile: web\n",
    )
    assert done.err == "aalearn: 1 workload, 1 place; 1 to change\n"
    assert pod.read_text() == POD


@pytest.mark.parametrize(
    ("arguments", "field", "annotation"),
    [
        (["--style", "field"], True, False),
        (["--style", "annotation"], False, True),
        (["--kube-version", "1.29.4"], False, True),
        (["--kube-version", "v1.30"], True, False),
        ([], True, True),
    ],
)
def test_styles(aalearn: Face, pod: Path, arguments: list[str], field: bool, annotation: bool) -> None:
    out = aalearn("annotate", pod, "--profile", "localhost/web", *arguments).out
    assert ("appArmorProfile" in out, PREFIX in out) == (field, annotation)


def test_in_place_keeps_the_old_bytes_beside_it(aalearn: Face, pod: Path) -> None:
    raw = b"\xef\xbb\xbf" + POD.replace("\n", "\r\n").encode()
    pod.write_bytes(raw)
    pod.chmod(0o640)
    done = aalearn("--output", "json", "annotate", pod, "--profile", "web", "--in-place")
    assert done.code == 0
    document = json.loads(done.out)
    fits(document, ANNOTATE)
    assert document["backups"] == [{"file": str(pod), "backup": f"{pod}.bak"}]
    new = pod.read_bytes()
    assert new.startswith(b"\xef\xbb\xbf#")
    assert new.count(b"\n") == new.count(b"\r\n")
    assert b"localhostProfile: web\r\n" in new
    assert stat.S_IMODE(pod.stat().st_mode) == 0o640
    assert Path(f"{pod}.bak").read_bytes() == raw
    assert aalearn("annotate", pod, "--profile", "web", "--in-place").out == ""
    assert pod.read_bytes() == new
    assert not Path(f"{pod}.bak1").exists()
    aalearn("annotate", pod, "--profile", "other", "--in-place")
    assert Path(f"{pod}.bak1").read_bytes() == new
    assert sorted(path.name for path in pod.parent.iterdir()) == ["pod.yaml", "pod.yaml.bak", "pod.yaml.bak1"]


def test_in_place_follows_a_link_and_says_what_it_can_not_write(
    aalearn: Face, pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = pod.with_name("link.yaml")
    link.symlink_to(pod)
    assert aalearn("annotate", link, "--profile", "web", "--in-place").code == 0
    assert link.is_symlink()
    assert "localhostProfile" in pod.read_text()
    done = program("annotate", "-", "--profile", "web", "--in-place", stdin=POD.encode())
    assert (done.code, done.out) == (2, "")
    assert "standard input can't be edited in place" in done.err
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    before = pod.read_bytes()
    done = aalearn("annotate", pod, "--profile", "new", "--in-place")
    assert done.code == 3
    assert "No space left on device; it is as it was" in done.err
    assert pod.read_bytes() == before
    assert not [path for path in pod.parent.iterdir() if path.name.startswith(".")]


def test_a_dry_run_shows_a_diff(aalearn: Face, pod: Path) -> None:
    done = aalearn("annotate", pod, "--profile", "web", "--in-place", "--dry-run")
    assert done.code == 0
    assert "+        localhostProfile: web\n" in done.out
    assert "would change" in done.err
    assert pod.read_text() == POD


def test_standard_input_and_a_stream_of_documents(pod: Path) -> None:
    done = program("annotate", "-", "--profile", "web", "--quiet", stdin=b"")
    assert done.code == 2
    stream = f"{POD}---\nkind: Service\napiVersion: v1\n--- # last\n{POD}"
    done = program("--quiet", "annotate", "-", "--profile", "web", stdin=stream.encode())
    assert (done.code, done.err) == (0, "")
    assert done.out.count("localhostProfile: web") == 4
    assert "---\nkind: Service\napiVersion: v1\n--- # last\n# mine\n" in done.out
    assert program("annotate", "-", "--profile", "web", stdin=b"\xff").code == 2


def test_several_files_become_one_stream(aalearn: Face, pod: Path) -> None:
    other = pod.with_name("other.yaml")
    other.write_text(POD.replace('"web"', "other").rstrip("\n"))
    done = aalearn("annotate", pod, other, pod, "--profile", "web")
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(done.out)] == ["web", "other"]


def test_a_folder(aalearn: Face, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "base" / "a.yml").write_text(POD)
    (tmp_path / "b.json").write_text(json.dumps(yaml.safe_load(POD), indent=4))
    (tmp_path / "broken.yaml").write_text("kind: Pod\nx: [\n")
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / ".git" / "c.yaml").write_text(POD)
    (tmp_path / "notes.txt").write_text(POD)
    done = aalearn("annotate", tmp_path, "--profile", "web", "--in-place")
    assert done.code == 1  # one could not be read
    assert "broken.yaml: line 3" in done.err
    assert "2 workloads, 4 places; 2 changed" in done.err
    assert (tmp_path / ".git" / "c.yaml").read_text() == POD
    json.loads((tmp_path / "b.json").read_text())


def test_a_map_for_a_repository(aalearn: Face, tmp_path: Path, pod: Path) -> None:
    lines = tmp_path / "map"
    lines.write_text('"*/log": null\npod/web/nginx: "web-1"\nnone/*: other\n')
    done = aalearn("--verbose", "annotate", pod, "--map", lines)
    assert done.code == 0
    assert done.out.count("web-1") == 2
    assert "log, image: log}" in done.out
    assert "no container fits the map's line none/*" in done.err
    for text, hint in (
        ("a: b", "a is no pattern"),
        ("a/b: [c]", "needs the name of a profile"),
        ("a/b: ' c'", "begins or ends with a blank"),
        ("- a", "holds no lines"),
        ("a/b: c\na/b: d", "stands twice"),
        ("\xff", "no lines"),
    ):
        lines.write_text(text)
        done = aalearn("annotate", pod, "--map", lines)
        assert (done.code, done.out) == (2, ""), text
        assert hint in done.err
        assert done.err.count("\n") == 1


def test_remove(aalearn: Face, pod: Path) -> None:
    assert aalearn("annotate", pod, "--profile", "web", "--in-place").code == 0
    assert aalearn("annotate", pod, "--remove", "--profile", "other").out != POD
    assert aalearn("annotate", pod, "--remove", "--profile", "web").out == POD
    assert aalearn("annotate", pod, "--remove", "--container", "log").out.count("localhost/web") == 1
    assert aalearn("annotate", pod, "--remove").out == POD


@pytest.mark.parametrize("name", ["web", '"{{ .Chart.Name }}"'])
def test_a_helm_template_becomes_a_patch(aalearn: Face, tmp_path: Path, name: str) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text(HELM.replace("NAME", name))
    for arguments in ([], ["--in-place"]):
        done = aalearn("annotate", file, "--profile", "web", *arguments)
        assert done.code == 1
        assert "it is a Helm template" in done.err
        (patch,) = yaml.safe_load(done.out)["patches"]
        assert patch["target"] == {"group": "apps", "kind": "Deployment"}
        spec = yaml.safe_load(patch["patch"])["spec"]["template"]["spec"]
        held = spec["containers"][0] if name == "web" else spec
        assert held["securityContext"] == {"appArmorProfile": {"type": "Localhost", "localhostProfile": "web"}}
    assert file.read_text() == HELM.replace("NAME", name)
    assert not Path(f"{file}.bak").exists()
    file.write_text(HELM + "  : {{ }\n- x")
    done = aalearn("annotate", file, "--profile", "web")
    assert done.code == 2
    assert "helm template" in done.err


def test_what_is_shared_by_anchors_becomes_a_patch(aalearn: Face, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        "# c\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n"
        "  - &one\n    name: c\n    image: x\n  - <<: *one\n    name: d\n"
    )
    done = aalearn("annotate", file, "--profile", "web", "--container", "c", "--in-place")
    assert done.code == 1
    assert "shared by the YAML anchor &one" in done.err
    assert "0 changed, 1 left to the patch" in done.err
    assert yaml.safe_load(done.out)["kind"] == "Kustomization"
    assert not Path(f"{file}.bak").exists()
    done = aalearn("annotate", file, "--profile", "web", "--container", "c")
    assert done.code == 1
    first, second = yaml.safe_load(done.out)["spec"]["containers"]
    assert (first["name"], second["name"]) == ("c", "d")
    assert "securityContext" not in second


def test_both_of_two_that_share_may_be_meant(aalearn: Face, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    spec = "  spec: &s\n    containers:\n    - name: c\n      image: x\n"
    item = "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: "
    file.write_text(f"apiVersion: v1\nkind: List\nitems:\n{item}a\n{spec}{item}b\n  spec: *s\n")
    done = aalearn("annotate", file, "--profile", "web")
    assert done.code == 0
    assert done.out.count("localhostProfile") == 1
    assert all("localhostProfile" in str(one) for one in yaml.safe_load(done.out)["items"])


@pytest.mark.parametrize(
    ("more", "code", "hint"),
    [
        ("runtimeClassName: gvisor", 1, "the RuntimeClass gvisor is gVisor: the profile would confine the sandbox"),
        ("runtimeClassName: kata-qemu", 1, "is Kata Containers"),
        ("runtimeClassName: untrusted", 1, "the RuntimeClass untrusted is gVisor"),
        ("runtimeClassName: nvidia", 0, "1 to change"),
        ("os: {name: windows}", 1, "the Pod is for Windows"),
        ("hostUsers: false", 0, "hostUsers is false"),
        ("hostPID: true", 0, "the profile must name their labels"),
        ("initContainers: [{name: i, image: x, securityContext: {privileged: true}}]", 0, "1 to change"),
        ("initContainers: [{name: nginx, image: x}]", 1, "two containers are named nginx"),
        ("initContainers: [{name: A_b, image: x}]", 1, "a container can't be named A_b"),
        ("securityContext: {appArmorProfile: {type: Local}}", 1, "its type Local is none of"),
        ("securityContext: {appArmorProfile: {type: Localhost}}", 1, "needs a localhostProfile"),
        ("securityContext: {appArmorProfile: {type: Localhost, localhostProfile: 1}}", 1, "put it in quotes"),
        (
            "securityContext: {appArmorProfile: {type: Unconfined, localhostProfile: a}}",
            1,
            "is forbidden with the type",
        ),
        ("securityContext: {appArmorProfile: x}", 1, "it is no mapping"),
        ("securityContext: x", 0, "1 to change"),
    ],
)
def test_what_is_refused_and_warned(aalearn: Face, pod: Path, more: str, code: int, hint: str) -> None:
    runtime = "---\nkind: RuntimeClass\napiVersion: node.k8s.io/v1\nmetadata: {name: untrusted}\nhandler: runsc\n"
    pod.write_text(f"{POD}  {more}\n{runtime}")
    done = aalearn("annotate", pod, "--profile", "web", "--in-place")
    assert done.code == code, done.err
    assert hint in done.err.replace("changed", "to change")
    if code:
        assert "nothing was changed" in done.err
        assert pod.read_text().startswith(f"{POD}  {more}\n")


def test_privileged_and_misplaced(aalearn: Face, tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\n  annotations:\n"
        f"    {PREFIX}c: localhost/x\nspec:\n  template:\n    metadata:\n      annotations:\n"
        f"        {PREFIX}gone: localhost/x\n    spec:\n      containers:\n      - name: c\n"
        "        securityContext:\n          privileged: yes\n"
    )
    done = aalearn("annotate", file, "--profile", "web")
    assert done.code == 1
    assert "c is privileged" in done.err
    assert "not on its Pod template: no effect" in done.err
    assert "an annotation names the container gone, and there is none" in done.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "which profile?"),
        (["--profile", ""], "it is empty"),
        (["--profile", " a"], "begins or ends with a blank"),
        (["--profile", "a\nb"], "does not print"),
        (["--profile", "a" * 4096], "4,096 bytes"),
        (["--profile", "a", "--container", "x"], "no such container: there are pod/web/log, pod/web/nginx"),
        (["--profile", "a", "--map", "m"], "--map says it all"),
        (["--profile", "a", "--pod", "--container", "x"], "choose one of --container"),
        (["--profile", "a", "--pod", "--style", "annotation"], "the Pod level has no annotation"),
        (["--profile", "a", "--style", "field", "--kube-version", "1.30"], "choose one of --style"),
        (["--profile", "a", "--kube-version", "new"], "not a version of Kubernetes"),
        (["--profile", "a", "--in-place", "--patch", "json"], "choose one of --in-place"),
        (["--profile", "a", "--dry-run"], "--dry-run goes with"),
        (["--profile", "a", "--context", "x"], "go with --live"),
        (["--map", "absent"], "can't read the map absent"),
    ],
)
def test_wrong_use_is_one_line(aalearn: Face, pod: Path, arguments: list[str], hint: str) -> None:
    done = aalearn("annotate", pod, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert hint in done.err


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b"\xff\xfea", "line 1: not UTF-8"),
        (b"kind: Pod\nkind: Pod\n", 'line 2: the key "kind" stands twice'),
        (b"# c\n---\nkind: Pod\na: &a [*a]\n", "line 4: the alias *a has no anchor"),
        (b"kind: Pod\n\tx: 1\n", "line 2: "),
        (b"kind: Pod\nx: " + b"[" * 200 + b"]" * 200, "nested deeper than 100 levels"),
        (
            b"kind: Pod\na: &a [1,2,3,4,5,6,7,8,9]\n"
            + b"".join(b"%c: &%c [%s]\n" % (x + 1, x + 1, b",".join([b"*%c" % x] * 9)) for x in range(97, 104)),
            "its aliases stand for more than",
        ),
        (b'kind: Pod\nx: "\\UFFFFFFFF"\n', "line "),
        (b"kind: Pod\n? [a]\n: b\n", "a key that is no scalar"),
        (b"kind: Pod\n...\nkind: Pod\n", "two documents without ---"),
        (b'{"kind": "Pod", "kind": "Pod"}', "stands twice"),
        (b"kind: Pod\nx: \x07\n", "line 2"),
        (b"kind: Service\n", "no workload is in there"),
        (b"", "no workload is in there"),
        (b"kind: Pod\napiVersion: example.org/v1\n", "no workload is in there"),
    ],
)
def test_unfit_files_are_one_line(aalearn: Face, pod: Path, text: bytes, hint: str) -> None:
    pod.write_bytes(text)
    done = aalearn("annotate", pod, "--profile", "web")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert hint in done.err


def test_files_that_are_none(aalearn: Face, tmp_path: Path) -> None:
    assert "can't read" in aalearn("annotate", tmp_path / "absent", "--profile", "a").err
    assert "no manifest was found" in aalearn("annotate", tmp_path, "--profile", "a").err
    assert "no regular file" in aalearn("annotate", "/dev/null", "--profile", "a").err
    big = tmp_path / "big.yaml"
    with big.open("wb") as file:
        file.truncate((32 << 20) + 1)
    assert "larger than 32 MiB" in aalearn("annotate", big, "--profile", "a").err


def test_the_store_is_asked_for_the_name(aalearn: Face, pod: Path, learned: object) -> None:
    store = ("--db", f"sqlite:///{learned('nginx')}")  # type: ignore[operator]
    assert "nothing was learned" not in aalearn(*store, "annotate", pod, "--profile", "nginx").err
    done = aalearn(*store, "annotate", pod, "--profile", "ngin")
    assert done.code == 0
    assert "nothing was learned for the profile ngin; did you mean nginx?" in done.err
    assert "nothing was learned" not in aalearn(*store, "annotate", pod, "--profile", "runtime/default").err


@pytest.mark.parametrize("form", ["strategic", "json", "kustomize"])
def test_patches_leave_the_manifest_alone(aalearn: Face, pod: Path, form: str) -> None:
    done = aalearn("annotate", pod, "--profile", "web", "--patch", form)
    assert done.code == 0
    assert pod.read_text() == POD
    (patch,) = yaml.safe_load_all(done.out)
    assert str(patch).count("web") >= 2
    assert aalearn("annotate", pod, "--remove", "--patch", form).out == ""


def test_a_kustomization_names_its_manifests(pod: Path) -> None:
    from tests.conftest import ROOT

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "aalearn",
            "annotate",
            pod.name,
            "--profile",
            "w",
            "--patch",
            "kustomize",
        ],
        cwd=pod.parent,
        env=clean_environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert yaml.safe_load(done.stdout)["resources"] == ["pod.yaml"]
