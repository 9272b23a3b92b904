"""What DaemonSets on nodes share: no rights in the cluster, no capability and nothing writable but what is named."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

LABELS: Final = {"app.kubernetes.io/part-of": "aalearn", "app.kubernetes.io/managed-by": "aalearn"}


def account(name: str, namespace: str) -> dict[str, Any]:
    """Return a service account that no role is bound to and whose token is not mounted."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS | {"app.kubernetes.io/name": name}},
        "automountServiceAccountToken": False,
    }


def locked_down(profile: Mapping[str, str], capabilities: Sequence[str] = ()) -> dict[str, Any]:
    """Return a container's security context: root by number (logs and policy are root's), without root's powers."""
    added = {"add": list(capabilities)} if capabilities else {}
    return {
        "allowPrivilegeEscalation": False,
        "appArmorProfile": dict(profile),
        "capabilities": {"drop": ["ALL"], **added},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsUser": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def host_path(name: str, path: str, kind: str) -> dict[str, Any]:
    """Return a volume of a path on the node."""
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def daemon_set(
    name: str, namespace: str, container: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]], **more: Any
) -> dict[str, Any]:
    """Return a DaemonSet for all Linux nodes, tainted ones too. `more` goes to the Pod's spec."""
    labels = LABELS | {"app.kubernetes.io/name": name}
    spec = {
        "automountServiceAccountToken": False,
        "containers": [dict(container)],
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "priorityClassName": "system-node-critical",
        "serviceAccountName": name,
        "terminationGracePeriodSeconds": 30,
        "tolerations": [{"operator": "Exists"}],
        "volumes": [dict(volume) for volume in volumes],
        **more,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        },
    }
