"""Nodes: which profiles each has loaded, and on which of them a Pod may run. Pure.

What is loaded comes from `aa-status --json` (any version), from the kernel's own list
(`/sys/kernel/security/apparmor/profiles`, lines `NAME (MODE)`), or from a JSON list `{"profiles": [{"name", "mode"}]}`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aalearn.kubernetes.workloads import dict_at, text_of
from aalearn.model.errors import BadInput

_LINE: Final = re.compile(r"(?P<name>\S.*?) \((?P<mode>[a-z]+)\)")
_MODES: Final = frozenset({"enforce", "complain", "kill", "unconfined", "user", "prompt", "audit"})
_HOLDING: Final = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `profiles`: the modes of what it has loaded; None: not known. `value`: the API's object, {} without."""

    name: str
    profiles: Mapping[str, str] | None = None
    value: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_loaded(text: str, name: str) -> dict[str, str]:
    """Return the loaded profiles' modes by name. Raises BadInput for a text of none of the known forms."""
    if text.lstrip().startswith("{"):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise BadInput(f"{name} is no JSON: save the output of `aa-status --json`") from None
        profiles = document.get("profiles")
        if isinstance(profiles, dict):
            return {key: text_of(mode, "?") for key, mode in profiles.items()}
        if isinstance(profiles, list):
            found = [one for one in profiles if isinstance(one, dict) and isinstance(one.get("name"), str)]
            return {one["name"]: text_of(one.get("mode"), "?") for one in found}
        raise BadInput(f"{name} holds no list of profiles: save the output of `aa-status --json`")
    loaded = {}
    for number, line in enumerate(text.splitlines(), 1):
        found_line = _LINE.fullmatch(line.strip())
        if found_line is not None and found_line["mode"] in _MODES:
            loaded[found_line["name"]] = found_line["mode"]
        elif line.strip():
            told = "no line of the form NAME (MODE); save `aa-status --json` or /sys/kernel/security/apparmor/profiles"
            raise BadInput(f"{name}: line {number}: {told}")
    return loaded


def may_run(pod: Mapping[str, Any], nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Return the nodes on which a Pod (its `spec`) runs or may run; nodes without an object are not ruled out."""
    named = text_of(pod.get("nodeName"), "")
    if named:
        return tuple(node for node in nodes if node.name == named) or (Node(named),)
    return tuple(node for node in nodes if not node.value or _fits(pod, node))


def _fits(pod: Mapping[str, Any], node: Node) -> bool:
    labels = dict_at(node.value, "metadata", "labels")
    if any(labels.get(key) != value for key, value in dict_at(pod, "nodeSelector").items()):
        return False
    required = dict_at(pod, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = [dict_at(term) for term in _list(required.get("nodeSelectorTerms"))]
    if terms and not any(_term(term, labels, node.name) for term in terms):
        return False
    tolerations = [dict_at(one) for one in _list(pod.get("tolerations"))]
    taints = [dict_at(one) for one in _list(dict_at(node.value, "spec").get("taints"))]
    return all(
        taint.get("effect") not in _HOLDING or any(_tolerates(one, taint) for one in tolerations) for taint in taints
    )


def _term(term: Mapping[str, Any], labels: Mapping[str, Any], name: str) -> bool:
    """Return whether one term of a node affinity holds; an empty one never does (source: API reference)."""
    expressions = [dict_at(one) for one in _list(term.get("matchExpressions"))]
    fields = [dict_at(one) for one in _list(term.get("matchFields"))]
    if not expressions and not fields:
        return False
    return all(_holds(one, labels) for one in expressions) and all(
        _holds(one, {"metadata.name": name}) for one in fields
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key, values = text_of(expression.get("key"), ""), _list(expression.get("values"))
    have = labels.get(key)
    match expression.get("operator"):
        case "In":
            return have in values
        case "NotIn":
            return have not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case "Gt" | "Lt" as word:
            try:
                wanted, own = int(str(values[0])), int(str(have))
            except (ValueError, IndexError):
                return False
            return own > wanted if word == "Gt" else own < wanted
    return False


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    return toleration.get("key") == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
