"""`aalearn export` as a person types it: every format, files and stdout, and what is refused."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest

from aalearn.store import Store
from tests.cli.conftest import Done, Face
from tests.conftest import ROOT, require
from tests.kubernetes.exported import documents, fits

pytestmark = pytest.mark.parser
DEPLOY = ROOT / "deploy/kustomize"
KUBERNETES = ("1.30", "1.33", "1.37")  # appArmorProfile is a field from 1.30 on


@pytest.fixture
def export(aalearn: Face, learned: Callable[[str], Path], apparmor_parser: str) -> Callable[..., Done]:
    def call(*arguments: str | Path, output: str = "text") -> Done:
        return aalearn("--db", f"sqlite:///{learned('container')}", "--output", output, "export", *arguments)

    return call


Export = Callable[..., Done]


def test_spo_objects_go_out_in_complain_mode_with_what_is_lost(export: Export) -> None:
    done = export("spo", "wl_ct_ix", "--binding", "shop/web:1", "--namespace", "shop")
    assert done.code == 1  # a mount was learned, which SPO can't say
    profile, binding = documents(done.out)
    fits(profile, "apparmorprofile-1.0")
    fits(binding, "profilebinding-1.0")
    assert profile["spec"]["mode"] == "Complain"
    assert binding["spec"]["profileRef"]["name"] == profile["metadata"]["name"]
    assert "would deny 1 learned event when enforced" in done.err
    assert "mount /tmp/" in done.err
    assert "signal (receive) peer=runc," in done.err
    assert "enable-binding" in done.err
    (enforced,) = documents(export("spo", "wl_ct_ix", "--enforce").out)
    assert enforced["spec"]["mode"] == "Enforce"
    assert enforced["metadata"]["name"] == profile["metadata"]["name"]


def test_spo_as_json(export: Export) -> None:
    done = export("spo", "wl_ct_ix", "--spo-version", "0.9", output="json")
    found = json.loads(done.out)
    assert (found["schema"], found["format"], done.code) == (1, "spo", 1)
    (profile,) = found["profiles"]
    assert profile["proved"] is True
    assert profile["enforce"] is False
    assert [one["what"].split()[0] for one in profile["denied"]] == ["mount"]
    assert {one["rule"] for one in profile["lost"]} >= {"signal (receive) peer=crun,"}
    (document,) = documents(found["files"][0]["content"])
    fits(document, "apparmorprofile-0.9")


def test_the_oldest_spo_takes_the_text_itself_and_loses_nothing(export: Export) -> None:
    done = export("spo", "wl_ct_ix", "--spo-version", "0.8.4")
    assert done.code == 0
    (found,) = documents(done.out)
    fits(found, "apparmorprofile-0.8")
    assert (
        f"profile {found['metadata']['name']} flags=(complain,attach_disconnected,mediate_deleted) {{"
        in (found["spec"]["policy"])
    )


def test_a_configmap_and_its_loader(export: Export, apparmor_parser: str, tmp_path: Path) -> None:
    done = export("configmap", "wl_ct_ix", "--image", "registry.example/aalearn:1", "--enforce")
    assert done.code == 0
    found = documents(done.out)
    for document in found:
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)
    account, profiles, script, daemon = found
    assert account["automountServiceAccountToken"] is False
    ((name, text),) = profiles["data"].items()
    file = tmp_path / name
    file.write_text(text)
    compiled = subprocess.run([apparmor_parser, "-QKS", file], capture_output=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    pod = daemon["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "registry.example/aalearn:1"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["MAC_ADMIN"]}
    assert container["securityContext"]["appArmorProfile"] == {"type": "Unconfined"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "privileged" not in container["securityContext"] or not container["securityContext"]["privileged"]
    used = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert used == {profiles["metadata"]["name"], script["metadata"]["name"]}


def test_the_daemonset_is_the_kustomize_base_of_the_checkout(export: Export, tmp_path: Path) -> None:
    done = export("daemonset", "--output-dir", tmp_path / "base")
    assert done.code == 0
    written = {path.name: path.read_text() for path in (tmp_path / "base").iterdir()}
    assert written == {path.name: path.read_text() for path in DEPLOY.iterdir()}
    stream = documents(export("daemonset").out)
    assert [one["kind"] for one in stream] == ["Namespace", "ServiceAccount", "NetworkPolicy", "DaemonSet"]
    for document in stream:
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)
    pod = stream[-1]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["appArmorProfile"] == {"type": "RuntimeDefault"}
    hosts = {volume["name"] for volume in pod["volumes"] if "hostPath" in volume}
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert hosts & writable == {"state"}
    assert not any(one["kind"].endswith(("Role", "RoleBinding")) for one in stream)


def test_the_real_kubectl_builds_the_base() -> None:
    kubectl = ROOT / ".venv/bin/kubectl"
    program = str(kubectl) if kubectl.exists() else _which("kubectl")
    require("kubectl", program)
    done = subprocess.run([str(program), "kustomize", str(DEPLOY)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = documents(done.stdout)
    assert {one["kind"] for one in built} == {"Namespace", "ServiceAccount", "NetworkPolicy", "DaemonSet"}
    assert all(one["metadata"].get("namespace", "aalearn") == "aalearn" for one in built)


def _which(name: str) -> str | None:
    from shutil import which

    return which(name)


@pytest.mark.parametrize(
    ("format_", "file", "said"),
    [
        ("raw", "", ""),
        ("docker", ".compose.yaml", "docker run --security-opt apparmor="),
        ("podman", ".conf", "podman run --security-opt apparmor="),
        ("containerd", ".container.json", "ctr run --apparmor-profile "),
        ("crio", ".crio.conf", "localhostProfile: "),
        ("oci", ".config.json", "config.json"),
    ],
)
def test_the_runtimes_formats(export: Export, tmp_path: Path, format_: str, file: str, said: str) -> None:
    folder = tmp_path / "out"
    done = export(format_, "wl_ct_ix", "--name", "web", "--output-dir", folder)
    assert done.code == 0, done.err
    assert said in done.err
    files = {path.name: path.read_text() for path in folder.iterdir()}
    (name,) = [one for one in files if "profile " + one in files[one]]
    assert name.startswith("web-")
    assert sorted(files) == sorted({name, name + file})
    assert name in files[name + file]
    assert done.out.splitlines() == [str(folder / one) for one in _order(done.out)]


def _order(out: str) -> list[str]:
    return [Path(line).name for line in out.splitlines()]


def test_files_are_not_overwritten_unasked(export: Export, tmp_path: Path) -> None:
    folder = tmp_path / "deep/out"
    dry = export("raw", "wl_ct_ix", "--output-dir", folder, "--dry-run")
    assert dry.code == 0
    assert "nothing was written" in dry.err
    assert not folder.parent.exists()
    assert export("raw", "wl_ct_ix", "--output-dir", folder).code == 0
    (file,) = folder.iterdir()
    text = file.read_text()
    assert export("raw", "wl_ct_ix", "--output-dir", folder).code == 0  # the same content is no conflict
    file.write_text("mine\n")
    refused = export("raw", "wl_ct_ix", "--output-dir", folder)
    assert refused.code == 2
    assert "--force" in refused.err
    assert file.read_text() == "mine\n"
    assert "would need --force" in export("raw", "wl_ct_ix", "--output-dir", folder, "--dry-run").err
    assert export("raw", "wl_ct_ix", "--output-dir", folder, "--force").code == 0
    assert file.read_text() == text
    outside = tmp_path / "outside"
    outside.write_text("keep\n")
    file.unlink()
    file.symlink_to(outside)
    assert export("raw", "wl_ct_ix", "--output-dir", folder, "--force").code == 0
    assert outside.read_text() == "keep\n"  # the link is replaced, not followed
    assert sorted(os.listdir(folder)) == [file.name]


def test_to_stdout_several_files_are_told_apart(export: Export) -> None:
    done = export("oci", "wl_ct_ix")
    assert done.out.count("==> ") == 2
    assert export("raw", "wl_ct_ix").out.startswith("# Learned by aalearn")


def test_a_network_policy_needs_what_was_not_used(export: Export) -> None:
    done = export("networkpolicy", "wl_ct_ix", "--selector", "app=web")
    assert done.code == 0
    assert done.out == ""
    assert "both directions are used" in done.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["sop", "wl_ct_ix"], "did you mean spo?"),
        (["spo"], "name the profiles"),
        (["spo", "nothing"], "nothing was learned"),
        (["spo", "wl_ct_ix", "--spo-version", "new"], "release"),
        (["spo", "wl_ct_ix", "--binding", "a b"], "image"),
        (["spo", "wl_ct_ix", "--name", "../x"], "DNS"),
        (["raw", "wl_ct_ix", "--force"], "--output-dir"),
        (["raw", "wl_ct_ix", "--dry-run"], "--output-dir"),
        (["raw", "wl_ct_ix", "--all", "--accepted"], "exclude"),
        (["configmap", "wl_ct_ix", "--namespace", "A_b"], "DNS label"),
        (["configmap", "wl_ct_ix", "--image", "a b"], "image"),
        (["daemonset", "wl_ct_ix"], "takes no profile"),
        (["networkpolicy", "wl_ct_ix"], "--selector"),
        (["networkpolicy", "wl_ct_ix", "--selector", "app"], "labels"),
        (["networkpolicy", "wl_ct_ix", "--selector", "app=a b"], "labels"),
    ],
)
def test_what_can_not_be_is_told_in_one_line(export: Export, arguments: list[str], hint: str) -> None:
    done = export(*arguments)
    assert done.code == 2
    assert hint in done.err
    assert len([line for line in done.err.splitlines() if "error:" in line]) == 1
    assert "Traceback" not in done.err


def test_a_container_is_recognised_and_that_is_said(aalearn: Face, learned: Callable[[str], Path]) -> None:
    database = f"sqlite:///{learned('container')}"
    done = aalearn("--db", database, "suggest", "wl_ct_ix")
    assert "taken for a container's profile, as runc sent it signals" in done.err
    assert "include <" not in done.out
    assert "flags=(attach_disconnected,mediate_deleted)" in done.out
    other = aalearn("--db", database, "suggest", "--no-container", "wl_ct_ix")
    assert "taken for a container" not in other.err
    assert "include <tunables/global>" in other.out
    host = aalearn("--db", f"sqlite:///{learned('nginx')}", "suggest", "nginx")
    assert "taken for a container" not in host.err


def test_runs_in_containers_are_shown_and_tell_a_container(aalearn: Face, tmp_path: Path) -> None:
    """What the service saw of control groups while processes lived: status shows it, learning heeds it."""
    from aalearn.intake import Intake, Options
    from aalearn.sources import Chunk
    from aalearn.sources.cgroup import Origin
    from tests.intake.conftest import record

    database = f"sqlite:///{tmp_path}/x.db"
    inside = Origin(b"0123456789abcdef" * 4, b"7f0c3b1a-2d4e-4f60-8a91-b2c3d4e5f607")
    with Store.open(database) as store:
        intake = Intake(store, Options("web-1"), origins=lambda pid: inside if pid == 7 else None)
        intake.count(Chunk(record(1), "live", True, "web-1", "9"))
        intake.commit()
        (name,) = [profile.name.decode() for profile in store.profiles()]
    status = aalearn("--db", database, "status", name)
    assert "containers, as far as was seen:" in status.out
    assert "0123456789ab of Pod 7f0c3b1a-2d4e-4f60-8a91-b2c3d4e5f607: 1 run" in status.out
    found = json.loads(aalearn("--db", database, "--output", "json", "status", name).out)
    assert found["containers"] == [{"pod": inside.pod.decode(), "container": inside.container.decode(), "runs": 1}]
    assert "1 of 1 run was seen in containers" in aalearn("--db", database, "suggest", name).err
