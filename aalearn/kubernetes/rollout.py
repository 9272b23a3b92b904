"""How far a rollout is, from an object's status. Pure. Source: kubectl's `rollout status` (rollout_status.go)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aalearn.kubernetes.workloads import dict_at, text_of
from aalearn.model.text import shown


@dataclass(frozen=True, slots=True)
class Progress:
    """`done`: nothing more is to come; `failed`: why it never will; `told`: how it stands, for people."""

    done: bool
    told: str
    failed: str = ""


def progress(value: Mapping[str, Any]) -> Progress:
    """Return how far the rollout of an object is. Kinds that roll nothing out are done at once."""
    spec, status = dict_at(value, "spec"), dict_at(value, "status")
    kind = value.get("kind")
    if kind not in ("Deployment", "StatefulSet", "DaemonSet"):
        return Progress(True, "new Pods will have it; those that run keep what they have")
    if _number(status, "observedGeneration") < _number(dict_at(value, "metadata"), "generation"):
        return Progress(False, "waits for its controller")
    if kind == "Deployment":
        return _deployment(spec, status)
    strategy = text_of(dict_at(spec, "updateStrategy").get("type"), "")
    if strategy == "OnDelete":
        return Progress(True, "its update strategy is OnDelete: each Pod has it once you delete the old one")
    return _stateful_set(spec, status) if kind == "StatefulSet" else _daemon_set(status)


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Progress:
    if spec.get("paused") is True:
        return Progress(True, "its rollout is paused: kubectl rollout resume")
    listed = status.get("conditions")
    for one in listed if isinstance(listed, list) else ():
        condition = dict_at(one)
        told = shown(text_of(condition.get("message"), ""))
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return Progress(False, told, told or "its progress deadline passed")
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return Progress(False, told, told or "its Pods can't be made")
    wanted = _number(spec, "replicas", 1)
    updated, available = _number(status, "updatedReplicas"), _number(status, "availableReplicas")
    told = f"{updated} of {wanted} Pods new, {available} available"
    return Progress(updated >= wanted and _number(status, "replicas") <= updated and available >= updated, told)


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Progress:
    partition = _number(dict_at(spec, "updateStrategy", "rollingUpdate"), "partition")
    wanted = max(_number(spec, "replicas", 1) - partition, 0)
    updated, ready = _number(status, "updatedReplicas"), _number(status, "readyReplicas")
    told = f"{updated} of {wanted} Pods new, {ready} ready"
    same = bool(partition) or status.get("currentRevision") == status.get("updateRevision")
    return Progress(updated >= wanted and ready >= _number(spec, "replicas", 1) and same, told)


def _daemon_set(status: Mapping[str, Any]) -> Progress:
    wanted, updated = _number(status, "desiredNumberScheduled"), _number(status, "updatedNumberScheduled")
    available = _number(status, "numberAvailable")
    return Progress(updated >= wanted and available >= wanted, f"{updated} of {wanted} Pods new, {available} available")


def _number(value: Mapping[str, Any], key: str, default: int = 0) -> int:
    found = value.get(key)
    return found if isinstance(found, int) else default
