"""Manifests as people write them: varied in indentation, quotes, comments, anchors, line ends and everything else."""

from dataclasses import dataclass
from random import Random
from typing import Any

KINDS = (
    ("v1", "Pod", ()),
    ("apps/v1", "Deployment", ("spec", "template")),
    ("apps/v1", "StatefulSet", ("spec", "template")),
    ("apps/v1", "DaemonSet", ("spec", "template")),
    ("apps/v1", "ReplicaSet", ("spec", "template")),
    ("v1", "ReplicationController", ("spec", "template")),
    ("batch/v1", "Job", ("spec", "template")),
    ("batch/v1", "CronJob", ("spec", "jobTemplate", "spec", "template")),
    ("v1", "PodTemplate", ("template",)),
)
SCRIPT = "set -e\n\techo 'tab'  \n\n  --- not a document\n# no comment {{ }}\nexec nginx\n"
LONG = "a long argument that a formatter would like to fold " * 5
OTHERS = (
    "apiVersion: v1\nkind: Service\nmetadata:\n  name: web   # its\nspec:\n  ports:\n  - {port: 80, name: 'http'}\n",
    "# nothing but a comment\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a.conf: |\n    kind: of\n    \tserver { }\n   \n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: alerts\ndata:\n  a: |+\n    {{ $labels.pod }}\n\n\n",
)


@dataclass(frozen=True)
class Sample:
    """A file's text and how many workloads it holds."""

    text: str
    workloads: int


def sample(seed: int) -> Sample:
    """Return one file. The same seed gives the same file."""
    random = Random(seed)
    writer = Writer(random)
    parts, held = [], 0
    for number in range(random.choice((1, 1, 1, 2, 3))):
        if number and random.random() < 0.4:
            parts.append(random.choice(OTHERS))
        else:
            version, kind, path = random.choice(KINDS)
            parts.append(writer.document(workload(random, version, kind, path)))
            held += 1
    mark = random.choice(("---\n", "--- # next\n", "# before\n---\n", "---\n# after\n\n"))
    text = mark.join(parts)
    if random.random() < 0.3:
        text = random.choice(("---\n", "# Copyright\n\n---\n", "%YAML 1.1\n---\n")) + text
    if random.random() < 0.2:
        text = text.rstrip("\n")
    if random.random() < 0.3:
        text = text.replace("\n", "\r\n")
    if random.random() < 0.1:
        text = "\ufeff" + text
    return Sample(text, held)


def workload(random: Random, version: str, kind: str, path: tuple[str, ...]) -> dict[str, Any]:
    """Return an object without any profile."""
    labels = {"app": "web", "tier": random.choice(("yes", "1", "front end"))}
    pod: dict[str, Any] = {}
    if random.random() < 0.4:
        pod["initContainers"] = [container(random, "init-0")]
    pod["containers"] = [container(random, f"c{number}") for number in range(random.choice((1, 1, 2, 3)))]
    if random.random() < 0.3:
        pod["securityContext"] = random.choice(({"runAsNonRoot": True}, None, {}))
    if random.random() < 0.3:
        pod["volumes"] = [{"name": "v", "emptyDir": {}}]
    if random.random() < 0.3:
        pod = dict(reversed(pod.items()))
    metadata: dict[str, Any] = {"labels": labels}
    if random.random() < 0.3:
        metadata["annotations"] = random.choice(({"note": "a: b # c"}, None, {"x/y": SCRIPT}))
    template: dict[str, Any] = {"metadata": metadata, "spec": pod}
    if path and random.random() < 0.1 and kind != "Pod":
        del template["metadata"]
    value: dict[str, Any] = {"apiVersion": version, "kind": kind, "metadata": {"name": f"web-{random.randrange(99)}"}}
    if random.random() < 0.3:
        value = dict(reversed(value.items()))
    if not path:
        value["metadata"] = {**value["metadata"], **metadata}
        value["spec"] = pod
        return value
    at = value
    for key in path[:-1]:
        at = at.setdefault(key, {} if kind == "PodTemplate" else _spec(kind, key))
    at[path[-1]] = template
    return value


def _spec(kind: str, key: str) -> dict[str, Any]:
    if kind == "CronJob":
        return {"schedule": "*/5 * * * *"} if key == "spec" else {}
    selector = {"app": "web"} if kind == "ReplicationController" else {"matchLabels": {"app": "web"}}
    return {} if kind == "Job" else {"replicas": 2, "selector": selector}


def container(random: Random, name: str) -> dict[str, Any]:
    """Return a container."""
    found: dict[str, Any] = {"name": name, "image": random.choice(("nginx:1.25", "r.example/a/b@sha256:00", "img"))}
    for key, choices in (
        ("args", (["--x", "-y=1"], [SCRIPT], [LONG], ["# no", "yes", "0x1", "a: b", "tab\there"], [])),
        ("env", ([{"name": "A", "value": "on"}, {"name": "B", "value": ""}], [{"name": "C", "value": SCRIPT}])),
        ("securityContext", ({"runAsUser": 0}, {}, None, {"capabilities": {"drop": ["ALL"]}})),
        ("command", (["sh", "-c", SCRIPT],)),
        ("tty", (True,)),
    ):
        if random.random() < 0.4:
            found[key] = random.choice(choices)
    return dict(reversed(found.items())) if random.random() < 0.2 else found


class Writer:
    """Writes values as YAML in one random hand."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._step = random.choice((2, 2, 2, 4, 3))
        self._dash = random.choice((0, 0, 2, 4))  # blanks of a list below its key
        self._gap = random.choice((1, 1, 1, 3))  # blanks after a dash
        self._comments = random.choice((0.0, 0.1, 0.3))
        self._anchored = False

    def document(self, value: dict[str, Any]) -> str:
        self._anchored = False
        return "\n".join(self._map(value, 0)) + "\n"

    def _map(self, value: dict[str, Any], indent: int) -> list[str]:
        lines = []
        for key, inner in value.items():
            if self._chance():
                lines.append(" " * self._random.choice((0, indent)) + "# a comment: with {{ things }} - in it")
            if self._random.random() < 0.03:
                lines.append(self._random.choice(("", "   ")))
            name = f'"{key}"' if self._random.random() < 0.05 else key
            lines += self._entry(f"{' ' * indent}{name}:", inner, indent)
        return lines

    def _entry(self, head: str, inner: Any, indent: int) -> list[str]:
        tail = "   # why" if self._chance() else ""
        if inner is None:
            return [head + self._random.choice(("", " null", " ~")) + tail]
        if inner in ({}, []):
            return [f"{head} {'{}' if inner == {} else '[]'}{tail}"]
        if isinstance(inner, dict):
            if self._random.random() < 0.08 and all(isinstance(one, str) for one in inner.values()):
                return [f"{head} {self._flow(inner)}{tail}"]
            anchor = ""
            if not self._anchored and self._random.random() < 0.03:
                self._anchored, anchor = True, " &here"
            return [head + anchor + tail, *self._map(inner, indent + self._step)]
        if isinstance(inner, list):
            return [head + tail, *self._list(inner, indent + self._dash)]
        return self._scalar(head, inner, indent, tail)

    def _list(self, value: list[Any], indent: int) -> list[str]:
        lines = []
        for inner in value:
            if self._chance():
                lines.append(" " * indent + "# - commented: out")
            if isinstance(inner, dict):
                held = indent + 1 + self._gap
                body = self._map(inner, held)
                first = next(at for at, line in enumerate(body) if line.strip() and not line.lstrip().startswith("#"))
                lines += [line if line.lstrip().startswith("#") else "" for line in body[:first]]
                lines.append(f"{' ' * indent}-{' ' * self._gap}{body[first].lstrip()}")
                lines += body[first + 1 :]
            else:
                lines += self._scalar(f"{' ' * indent}-", inner, indent, "")
        return lines

    def _scalar(self, head: str, inner: Any, indent: int, tail: str) -> list[str]:
        if isinstance(inner, bool):
            return [f"{head} {str(inner).lower()}{tail}"]
        if isinstance(inner, int):
            return [f"{head} {inner}{tail}"]
        if "\n" in inner:
            below = " " * (indent + self._step)
            return [f"{head} |{tail}", *(below + line if line else "" for line in inner.split("\n")[:-1])]
        if inner == LONG and self._random.random() < 0.5:
            words = inner.split()
            below = " " * (indent + self._step)
            return [f"{head} >-{tail}", below + " ".join(words[:9]), below + " ".join(words[9:])]
        if "\t" in inner:
            return [f'{head} "{inner}"{tail}'.replace("\t", self._random.choice(("\t", "\\t")))]
        if inner.replace("-", "").isalpha() and inner not in ("yes", "on") and self._random.random() < 0.8:
            return [f"{head} {inner}{tail}"]
        quote = self._random.choice("'\"")
        return [f"{head} {quote}{inner}{quote}{tail}"]

    def _flow(self, inner: dict[str, str]) -> str:
        return "{" + ", ".join(f'{key}: "{one}"' for key, one in inner.items() if "\n" not in one) + "}"

    def _chance(self) -> bool:
        return self._random.random() < self._comments
