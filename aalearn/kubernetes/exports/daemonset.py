"""`daemonset`: aalearn itself on every node, as a kustomize base. It reads logs and learns; it changes nothing.

Host paths are read-only but for its own state folder. It needs no rights in the cluster at all. The same files stand
in `deploy/kustomize`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from aalearn.kubernetes.exports.base import IMAGE, Choice, Exported, Exporter, File, Outgoing, register
from aalearn.kubernetes.exports.nodes import LABELS, account, daemon_set, host_path, locked_down
from aalearn.kubernetes.exports.yaml import dump
from aalearn.model.errors import UsageError

_NAME: Final = "aalearn"
_STATE: Final = "/var/lib/aalearn"
# What is read, and why: the audit log and the journal; existing profiles, abi and tunables; the machine's id, by which
# the journal is found. Not the kernel's own AppArmor files: runtimes' default profiles deny them to containers.
_READ: Final = (
    ("logs", "/var/log", "Directory"),
    ("profiles", "/etc/apparmor.d", "Directory"),
    ("machine-id", "/etc/machine-id", "File"),
)


@register
class Daemonset(Exporter):
    """Namespace, service account without rights, network policy without traffic, DaemonSet."""

    format: ClassVar[str] = "daemonset"
    help: ClassVar[str] = "aalearn itself on nodes, as a kustomize base"
    takes_none: ClassVar[bool] = True

    def export(self, profiles: Sequence[Outgoing], choice: Choice) -> Exported:
        if profiles:
            raise UsageError("daemonset is aalearn itself and takes no profile; configmap carries profiles to nodes")
        namespace = choice.namespace or _NAME
        objects = {
            "namespace.yaml": _namespace(namespace),
            "serviceaccount.yaml": account(_NAME, namespace),
            "networkpolicy.yaml": _no_traffic(namespace),
            "daemonset.yaml": _agent(namespace, choice.image),
        }
        files = [File(name, dump([found])) for name, found in objects.items()]
        files.append(File("kustomization.yaml", dump([_kustomization(namespace, sorted(objects))]), alone=True))
        notes = (
            "the image must hold aalearn and apparmor_parser (see deploy/Containerfile); name yours by --image",
            "containers are told from the host by hostPID: without it no record finds its Pod",
        )
        return Exported(tuple(files), (), "yaml", notes)


def _namespace(name: str) -> dict[str, Any]:
    labels = LABELS | {"pod-security.kubernetes.io/enforce": "privileged"}  # host paths and hostPID need it
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _no_traffic(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "no-traffic", "namespace": namespace, "labels": LABELS},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def _agent(namespace: str, image: str) -> dict[str, Any]:
    container = {
        "name": _NAME,
        "image": image,
        "command": ["aalearn", "run"],
        "env": [
            {"name": "AALEARN_DB", "value": f"sqlite:///{_STATE}/aalearn.db"},
            {"name": "AALEARN_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "securityContext": locked_down({"type": "RuntimeDefault"}),
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [
            *({"name": name, "mountPath": path, "readOnly": True} for name, path, _ in _READ),
            {"name": "state", "mountPath": _STATE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a mount point, and the Pod's own
        ],
    }
    volumes = [
        *(host_path(name, path, kind) for name, path, kind in _READ),
        host_path("state", _STATE, "DirectoryOrCreate"),
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    return daemon_set(_NAME, namespace, container, volumes, hostPID=True)


def _kustomization(namespace: str, resources: Sequence[str]) -> dict[str, Any]:
    name, _, tag = IMAGE.partition(":")
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": list(resources),
        "images": [{"name": name, "newTag": tag}],
    }
