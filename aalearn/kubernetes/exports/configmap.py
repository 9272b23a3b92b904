"""`configmap`: raw profiles in a ConfigMap, and a DaemonSet that loads them on every node and checks that it did.

The way of the Kubernetes documentation; it carries every rule. The loader has CAP_MAC_ADMIN and nothing else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from aalearn.kubernetes.exports.base import Choice, Exported, Exporter, File, Outgoing, Report, register
from aalearn.kubernetes.exports.nodes import LABELS, account, daemon_set, host_path, locked_down
from aalearn.kubernetes.exports.yaml import dump
from aalearn.model.data import folder
from aalearn.model.errors import UsageError

LARGEST: Final = 1_000_000  # bytes: a ConfigMap may have 1 MiB
_NAME: Final = "aalearn-loader"
_KERNEL: Final = "/sys/kernel/security"


@register
class ConfigMap(Exporter):
    """A namespace's objects: service account without rights, two ConfigMaps, the loader."""

    format: ClassVar[str] = "configmap"
    help: ClassVar[str] = "a ConfigMap of profiles and a DaemonSet that loads them"

    def export(self, profiles: Sequence[Outgoing], choice: Choice) -> Exported:
        namespace = choice.namespace or "aalearn"
        texts = {one.name: one.text for one in sorted(profiles, key=lambda one: one.name)}
        size = sum(len(text.encode()) for text in texts.values())
        if size > LARGEST:
            raise UsageError(
                f"the profiles have {size:,} bytes, and a ConfigMap takes {LARGEST:,}: export them in parts"
            )
        script = (folder("templates") / "loader.sh").read_text("utf-8")
        held = _config_map("aalearn-profiles", namespace, texts)
        loader = _config_map(_NAME, namespace, {"loader.sh": script})
        objects = [account(_NAME, namespace), held, loader, _daemon_set(namespace, choice.image, held, loader)]
        notes = (
            f"the namespace must let Pods mount {_KERNEL}: kubectl label namespace {namespace} "
            "pod-security.kubernetes.io/enforce=privileged",
            f"loaded everywhere once this returns: kubectl -n {namespace} rollout status daemonset/{_NAME}",
            "keep the profile that Pods still use in the export: a node that boots anew loads only what is in it",
        )
        reports = tuple(Report(one.learned, one.name) for one in profiles)
        return Exported((File("aalearn-loader.yaml", dump(objects)),), reports, "yaml", notes)


def _config_map(name: str, namespace: str, data: Mapping[str, str]) -> dict[str, Any]:
    """Return a ConfigMap that is never changed: its name holds a digest of the data."""
    digest = hashlib.sha256(repr(sorted(data.items())).encode()).hexdigest()[:8]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{name}-{digest}",
            "namespace": namespace,
            "labels": LABELS | {"app.kubernetes.io/name": _NAME},
        },
        "immutable": True,
        "data": dict(data),
    }


def _daemon_set(namespace: str, image: str, held: Mapping[str, Any], loader: Mapping[str, Any]) -> dict[str, Any]:
    container = {
        "name": "loader",
        "image": image,
        "command": ["/bin/sh", "/loader/loader.sh"],
        # A confined loader could not write to the kernel's policy files: every runtime's own profile denies that.
        "securityContext": locked_down({"type": "Unconfined"}, ["MAC_ADMIN"]),
        "readinessProbe": {"exec": {"command": ["test", "-e", "/run/loader/ready"]}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [
            {"name": "kernel", "mountPath": _KERNEL},
            {"name": "loader", "mountPath": "/loader", "readOnly": True},
            {"name": "profiles", "mountPath": "/profiles", "readOnly": True},
            {"name": "state", "mountPath": "/run/loader"},
        ],
    }
    volumes = [
        host_path("kernel", _KERNEL, "Directory"),
        {"name": "loader", "configMap": {"name": loader["metadata"]["name"]}},
        {"name": "profiles", "configMap": {"name": held["metadata"]["name"]}},
        {"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}},
    ]
    return daemon_set(_NAME, namespace, container, volumes)
