"""What kubelets, container runtimes and the kernel say when a profile keeps a container from starting: cause and mend.

The texts are those of containerd (contrib/apparmor), CRI-O, runc 1.1 to 1.3, crun, podman and of kubelets before 1.31
(pkg/security/apparmor); those of runtimes were also seen in a virtual machine.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from aalearn.kubernetes.workloads import dict_at, text_of


class Cause(StrEnum):
    """Why a container does not start."""

    NOT_LOADED = "not-loaded"
    OFF = "apparmor-off"
    INVALID = "invalid"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Symptom:
    """One trouble of a Pod or container as it is reported.

    `profile` is the name in the message, "" where it holds none; `speaker` who says so; `final`: the Pod stays like
    this until it is deleted, else it is tried again.
    """

    cause: Cause
    container: str
    profile: str
    speaker: str
    reason: str
    message: str
    final: bool = False


_NAME: Final = r"[\"']?(?P<name>[^\s\"',)]+)[\"']?"
_TEXTS: Final[tuple[tuple[Cause, str, re.Pattern[str]], ...]] = tuple(
    (cause, speaker, re.compile(pattern))
    for cause, speaker, pattern in (
        (Cause.NOT_LOADED, "containerd", rf"apparmor profile not found {_NAME}"),
        (Cause.NOT_LOADED, "CRI-O", rf"AppArmor profile {_NAME} is not loaded"),
        (Cause.NOT_LOADED, "kubelet", rf"Cannot enforce AppArmor: profile {_NAME} is not loaded"),
        (Cause.NOT_LOADED, "podman", rf"AppArmor profile {_NAME} specified but not loaded"),
        (
            Cause.NOT_LOADED,
            "runc",
            r"write (?:fsmount:fscontext:)?/?proc/(?:self|thread-self)/attr/apparmor/exec: no such",
        ),
        (Cause.NOT_LOADED, "crun", r"write file `/proc/(?:self|thread-self)/attr/(?:apparmor/)?exec`: No such file"),
        (Cause.NOT_LOADED, "runtime", r"(?:attr/(?:apparmor/)?exec)['`\"]?: [Nn]o such file or directory"),
        (Cause.OFF, "kubelet", r"Cannot enforce AppArmor: AppArmor is not enabled on the host"),
        (Cause.OFF, "kubelet", r"Cannot enforce AppArmor"),
        (Cause.OFF, "runtime", r"[Aa]pp[Aa]rmor is (?:not (?:enabled|supported)|disabled)|apparmor.*not supported"),
        (Cause.INVALID, "kubelet", rf"invalid AppArmor profile name: {_NAME}"),
        (Cause.DENIED, "kernel", r"attr/(?:apparmor/)?exec['`\"]?: [Pp]ermission denied"),
    )
)
# crun says "write file `…`" where runc says "write …"; the more special text stands first.
_FINAL: Final = frozenset({"Blocked", "AppArmor"})
_STATUSES: Final = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def explain(message: str, container: str = "", reason: str = "") -> Symptom | None:
    """Return what a message says of AppArmor, None when it says nothing of it."""
    for cause, speaker, pattern in _TEXTS:
        found = pattern.search(message)
        if found is not None:
            name = found.groupdict().get("name") or ""
            return Symptom(cause, container, name, speaker, reason, message, reason in _FINAL)
    if reason in _FINAL:
        return Symptom(Cause.OFF, container, "", "kubelet", reason, message, final=True)
    return None


def symptoms(pod: dict[str, Any]) -> Iterator[Symptom]:
    """Yield what the status of a Pod says of AppArmor: the Pod's own, then of each container waiting or failed."""
    status = dict_at(pod, "status")
    found = explain(text_of(status.get("message"), ""), "", text_of(status.get("reason"), ""))
    if found is not None:
        yield found
    for name in _STATUSES:
        listed = status.get(name)
        for one in listed if isinstance(listed, list) else ():
            container = text_of(dict_at(one).get("name"), "")
            states = [dict_at(one, "state", "waiting"), dict_at(one, "state", "terminated")]
            if "running" not in dict_at(one, "state"):
                states.append(dict_at(one, "lastState", "terminated"))
            for state in states:
                found = explain(text_of(state.get("message"), ""), container, text_of(state.get("reason"), ""))
                if found is not None:
                    yield found
                    break


def crashing(pod: dict[str, Any]) -> str:
    """Return the container of a Pod that crashed again and again, "" without one."""
    for name in _STATUSES[:2]:
        listed = dict_at(pod, "status").get(name)
        for one in listed if isinstance(listed, list) else ():
            restarts = dict_at(one).get("restartCount")
            waits = dict_at(one, "state", "waiting").get("reason") == "CrashLoopBackOff"
            if waits and isinstance(restarts, int) and restarts > 1:
                return text_of(dict_at(one).get("name"), "")
    return ""
