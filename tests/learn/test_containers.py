"""Learning for a container: the host's names of its files, the runtime's signals, the flags, and how it is told."""

from dataclasses import replace
from typing import Any

import pytest

from aalearn.learn.containers import inner_path, inside, told
from aalearn.learn.options import Mode
from tests.learn.accesses import Made
from tests.learn.conftest import learn, proof, texts

SNAPSHOT = b"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/12/fs"
ID = b"0123456789abcdef" * 4
TREES = [
    SNAPSHOT,
    b"/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs",
    b"/var/lib/rancher/k3s/agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs",
    b"/home/ann/.local/share/containerd/io.containerd.snapshotter.v1.fuse-overlayfs/snapshots/3/fs",
    b"/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + ID + b"/rootfs",
    b"/var/lib/docker/overlay2/" + ID + b"/merged",
    b"/var/lib/docker/overlay2/" + ID + b"-init/diff",
    b"/var/lib/docker/231072.231072/overlay2/" + ID + b"/diff",
    b"/home/ann/.local/share/docker/overlay2/" + ID + b"/merged",
    b"/var/lib/docker/rootfs/overlayfs/" + ID,
    b"/var/lib/containers/storage/overlay/" + ID + b"/merged",
    b"/home/ann/.local/share/containers/storage/overlay/" + ID + b"/diff",
    b"/overlay/" + ID + b"/diff",
]


@pytest.mark.parametrize("tree", TREES)
def test_each_runtimes_tree_is_known(tree: bytes) -> None:
    assert inner_path(tree + b"/etc/pass wd\n") == b"/etc/pass wd\n"
    assert inner_path(tree) == b"/"
    assert inner_path(tree + b"/") == b"/"


@pytest.mark.parametrize(
    "path",
    [
        b"/etc/passwd",
        SNAPSHOT + b"x/etc",
        b"/srv" + SNAPSHOT + b"/etc/shadow",
        b"/tmp/overlay2/" + ID + b"/merged/etc",
        b"/var/lib/docker/overlay2/short/merged/etc",
        b"/var/lib/docker/volumes/x/_data/file",
        b"/var/lib/containers/storage/overlay/" + ID + b"/link",
        b"",
    ],
)
def test_other_paths_stay(path: bytes) -> None:
    assert inner_path(path) is None


def _log() -> Made:
    log = Made()
    log.file(SNAPSHOT + b"/etc/app.conf")
    log.file("/etc/hosts")
    log.exec(SNAPSHOT.decode() + "/bin/app")
    log.file("/etc/other", profile=b"p//null-" + SNAPSHOT + b"/bin/app")
    return log


def test_paths_are_the_containers_and_a_host_profile_keeps_them() -> None:
    made = learn(_log().all, container=True)
    assert {"/etc/app.conf r,", "/etc/hosts r,", "/etc/other r,", "/bin/app ix,"} <= set(texts(made, ""))
    assert not any("snapshots" in text for text in texts(made))
    assert any("host's tree" in note.text for note in made.notes)
    host = learn(_log().all, mode=Mode.ALL)
    assert any("snapshots/12/fs/etc/app.conf" in text for text in texts(host))
    assert not any("host's tree" in note.text for note in host.notes)
    assert "attach_disconnected" not in host.document.profile.flags


def test_the_runtime_may_always_stop_a_container(parser: str) -> None:
    log = _log()
    signal: dict[str, Any] = {
        "requested_mask": "receive",
        "denied_mask": "receive",
        "signal": "urg",
        "peer": "unconfined",
    }
    log.add("signal", class_="signal", **signal)
    for mode in Mode:
        made = learn(log.all, container=True, mode=mode)
        for label in ("runc", "crun", "unconfined"):
            assert f"signal (receive) peer={label}," in texts(made, "")
        assert not any("set=(urg)" in text for text in texts(made))  # covered; its evidence stands behind the other
    assert made.evidence["p signal (receive) peer=unconfined,"]
    assert not made.evidence["p signal (receive) peer=runc,"]
    assert made.document.profile.flags == ("attach_disconnected", "mediate_deleted")
    assert made.document.includes == ()
    assert proof(learn(log.all, container=True), parser).proved
    assert not any("signal" in text for text in texts(learn(_log().all)))


def test_labels_of_new_kernels_stay_whole(parser: str) -> None:
    log = Made()
    fields: dict[str, Any] = {
        "requested_mask": "send",
        "denied_mask": "send",
        "signal": "term",
        "peer": "p//&unconfined",
    }
    log.add("signal", profile="p//&unconfined", class_="signal", **fields)
    made = learn(log.all, container=True)
    assert 'signal (send) set=(term) peer="p//&unconfined",' in texts(made, "")
    assert proof(made, parser).proved


def test_evidence_tells_a_container() -> None:
    assert "tree" in told(_log().all)
    log = Made()
    plain = log.file("/etc/hosts")
    assert told(log.all) == ""
    assert inside(plain) is plain
    fields: dict[str, Any] = {"requested_mask": "receive", "signal": "term", "peer": "unconfined"}
    signal = log.add("signal", class_="signal", **fields)
    assert told(log.all) == ""
    assert told([replace(signal, programs=(b"runc",))]) == "runc sent it signals"
    assert told([replace(plain, programs=(b"runc:[2:INIT]",))]) == "runc:[2:INIT] ran under it"
