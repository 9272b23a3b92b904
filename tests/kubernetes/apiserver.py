"""A small API server over real HTTP: get, list, JSON patch and server-side apply with field managers and dry runs, the
rights of one Role, validation by the API's own schemas, and Deployments and the like that roll out, or fail because a
node has not loaded the profile.
"""

import copy
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

Fields = dict[tuple[str, ...], Any]
URL = re.compile(
    r"/apis?/(?:(?P<group>[a-z]+)/)?v1/namespaces/(?P<namespace>[^/]+)/(?P<plural>[a-z]+)(?:/(?P<name>.+))?"
)
# What docs/kubernetes.md asks for, and nothing else: (verb, resource), within one namespace.
SETS = ("deployments", "statefulsets", "daemonsets", "replicasets", "replicationcontrollers")
WORKLOADS = (*SETS, "cronjobs", "podtemplates")
ROLE = frozenset({(verb, one) for verb in ("get", "patch") for one in WORKLOADS} | {("list", "pods")})
CRASHES = "crashes"  # the name of a profile with which a program starts and dies
NOT_FOUND = "failed to generate container spec: failed to generate apparmor spec opts: apparmor profile not found "


class RefusedError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Stub:
    """The server's state. `loaded`: the profiles that its one node has; `asked`: all requests as (verb, resource)."""

    def __init__(self, role: frozenset[tuple[str, str]] = ROLE, version: str = "1.31") -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.owners: dict[tuple[str, str, str], dict[tuple[str, str], set[tuple[str, ...]]]] = {}
        self.loaded = {"web", "api", CRASHES}
        self.role, self.version = role, version
        self.asked: list[tuple[str, str]] = []
        self.templates: list[Any] = []  # each template that was stored, in order
        self.meddle: Any = None  # called with the object after each change
        self.hiccups = 0  # so many requests after the first change are answered with 503

    def add(self, plural: str, value: dict[str, Any], manager: str = "kubectl") -> None:
        value = copy.deepcopy(value)
        value["metadata"].setdefault("generation", 1)
        key = (plural, value["metadata"]["namespace"], value["metadata"]["name"])
        self.owners[key] = {(manager, "Update"): set(flat(value))}
        self._store(key, value)
        for _ in range(4):
            self._turn(value)

    def get(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        value = self.objects.get((plural, namespace, name))
        if value is None:
            raise RefusedError(404, f'{plural} "{name}" not found')
        self._turn(value)
        return value

    def patch(self, key: tuple[str, str, str], body: Any, kind: str, query: dict[str, str]) -> dict[str, Any]:
        self.get(*key)
        old = self.objects[key]
        value, owners = copy.deepcopy(old), copy.deepcopy(self.owners[key])
        manager = query.get("fieldManager", "")
        if kind == "application/apply-patch+yaml":
            apply(value, owners, body, manager, force=query.get("force") == "true")
        elif kind == "application/json-patch+json":
            for one in body:
                operate(value, one)
            before, after = flat(old), flat(value)
            touched = {path for path in after if before.get(path) != after[path]}
            for held in owners.values():
                held -= touched | (set(before) - set(after))
            owners.setdefault((manager, "Update"), set()).update(touched)
        else:
            raise RefusedError(415, f"unsupported media type {kind}")
        if tuple(map(int, self.version.split("."))) < (1, 30):
            prune(value)
        self._validate(value)
        if value["spec"] != old["spec"]:
            value["metadata"]["generation"] += 1
        value["metadata"]["managedFields"] = managed(owners)
        if "dryRun" not in query:
            self.owners[key] = owners
            self._store(key, value)
            answer = copy.deepcopy(value)
            if self.meddle:
                self.meddle(value)
            return answer
        return value

    def _validate(self, value: dict[str, Any]) -> None:
        held = {name: one for name, one in value.items() if name != "status"}
        held["metadata"] = {name: one for name, one in held["metadata"].items() if name != "managedFields"}
        try:
            kubernetes_validate.validate(held, self.version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise RefusedError(422, f"is invalid: {error.message}") from None

    def _store(self, key: tuple[str, str, str], value: dict[str, Any]) -> None:
        self.objects[key] = value
        self.templates.append(copy.deepcopy(value["spec"].get("template")))

    def _turn(self, value: dict[str, Any]) -> None:
        """Let the controllers do one step."""
        status, generation = value.setdefault("status", {}), value["metadata"]["generation"]
        if status.get("observedGeneration") != generation:
            status.update({"observedGeneration": generation, "updatedReplicas": 0, "updatedNumberScheduled": 0})
            status["conditions"] = []
            return
        wanted = value["spec"].get("replicas", 2)
        fine = not [one for one in self.pods_of(value) if "waiting" in json.dumps(one["status"])]
        status.update({"updatedReplicas": wanted if fine else 1, "replicas": wanted, "readyReplicas": wanted})
        status.update({"availableReplicas": wanted if fine else wanted - 1, "desiredNumberScheduled": wanted})
        status.update({"updatedNumberScheduled": wanted if fine else 1, "numberAvailable": wanted if fine else 1})
        status.update({"currentRevision": f"r{generation}" if fine else "r0", "updateRevision": f"r{generation}"})

    def pods_of(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a Pod of the present template, as the API (which adds the field) and the kubelet show it."""
        template = copy.deepcopy(value["spec"].get("template", {"spec": {"containers": []}}))
        states = []
        for one in template["spec"]["containers"]:
            key = f"container.apparmor.security.beta.kubernetes.io/{one['name']}"
            said = template.get("metadata", {}).get("annotations", {}).get(key, "").removeprefix("localhost/")
            field = one.get("securityContext", {}).get("appArmorProfile", {})
            name = field.get("localhostProfile", said)
            if said and not field:
                context = one.setdefault("securityContext", {})
                context["appArmorProfile"] = {"type": "Localhost", "localhostProfile": said}
            state: dict[str, Any] = {"name": one["name"], "state": {"running": {}}, "restartCount": 0}
            if name and name not in self.loaded:
                waiting = {"reason": "CreateContainerError", "message": NOT_FOUND + name}
                state["state"] = {"waiting": waiting}
            elif name == CRASHES:
                state |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}
            states.append(state)
        metadata = {**template.get("metadata", {}), "name": value["metadata"]["name"] + "-x1"}
        return [{"metadata": metadata, "spec": template["spec"], "status": {"containerStatuses": states}}]


def flat(value: Any, path: tuple[str, ...] = ()) -> Fields:
    """Return the leaves of an object by path; items of a list of named things go by their name."""
    found: Fields = {}
    for key, inner in value.items():
        if path == () and key in ("apiVersion", "kind", "status"):
            continue
        if path == ("metadata",) and key in ("name", "namespace", "generation", "managedFields"):
            continue
        if isinstance(inner, dict) and inner:
            found |= flat(inner, (*path, f"f:{key}"))
        elif isinstance(inner, list) and inner and all(isinstance(one, dict) and "name" in one for one in inner):
            for one in inner:
                found |= flat(one, (*path, f"f:{key}", "k:" + json.dumps({"name": one["name"]})))
        else:
            found[(*path, f"f:{key}")] = inner
    return found


def apply(value: Any, owners: Any, body: Any, manager: str, *, force: bool) -> None:
    """Server-side apply as the API describes it."""
    if not manager:
        raise RefusedError(400, "fieldManager is required for apply patch")
    new, now, me = flat(body), flat(value), (manager, "Apply")
    conflicts = []
    for path, wanted in new.items():
        holders = [who for who, held in owners.items() if path in held and who != me]
        if path in now and now[path] != wanted and holders:
            conflicts.append(f'conflict with "{holders[0][0]}": .{".".join(path)}')
            if force:
                for who in holders:
                    owners[who].discard(path)
    if conflicts and not force:
        raise RefusedError(409, f"Apply failed with {len(conflicts)} conflict: {conflicts[0]}")
    for path in owners.get(me, set()) - set(new):
        if not any(path in held for who, held in owners.items() if who != me):
            assign(value, path, None)
    for path, wanted in new.items():
        assign(value, path, wanted)
    owners[me] = set(new)


def assign(value: Any, path: tuple[str, ...], wanted: Any) -> None:
    """Set a leaf, or drop it (None) with what is empty then."""
    at, above = value, []
    for key in path[:-1]:
        above.append((at, key))
        if key.startswith("k:"):
            name = json.loads(key[2:])["name"]
            found = next((one for one in at if one["name"] == name), None)
            if found is None:
                if wanted is None:
                    return
                found = {"name": name}
                at.append(found)
            at = found
        else:
            at = at.setdefault(key[2:], {})
    if wanted is not None:
        at[path[-1][2:]] = wanted
        return
    at.pop(path[-1][2:], None)
    for holder, key in reversed(above):
        if key.startswith("f:") and holder[key[2:]] == {}:
            del holder[key[2:]]


def operate(value: Any, one: dict[str, Any]) -> None:
    """One operation of RFC 6902."""
    keys = [key.replace("~1", "/").replace("~0", "~") for key in one["path"].split("/")[1:]]
    at = value
    try:
        for key in keys[:-1]:
            at = at[int(key)] if isinstance(at, list) else at[key]
        if one["op"] == "test":
            if at[keys[-1]] != one["value"]:
                raise RefusedError(422, f"testing path {one['path']} failed")
        elif one["op"] == "remove":
            del at[keys[-1]]
        else:
            if one["op"] == "replace":
                at[keys[-1]]
            at[keys[-1]] = copy.deepcopy(one["value"])
    except KeyError:
        raise RefusedError(422, f"the path {one['path']} does not exist") from None


def managed(owners: Any) -> list[dict[str, Any]]:
    """Return metadata.managedFields."""
    entries = []
    for (manager, operation), paths in owners.items():
        fields: dict[str, Any] = {}
        for path in paths:
            at = fields
            for key in path:
                at = at.setdefault(key, {})
        entries.append({"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields})
    return entries


def prune(value: Any) -> None:
    """Drop the field that a server before 1.30 does not know."""
    if isinstance(value, dict):
        value.pop("appArmorProfile", None)
        for inner in value.values():
            prune(inner)
    elif isinstance(value, list):
        for inner in value:
            prune(inner)


@contextmanager
def serving(stub: Stub, folder: Path) -> Iterator[Path]:
    """Serve on a free port and yield a kubeconfig for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PATCH(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            try:
                code, found = 200, self._found(url.path, query, body)
            except RefusedError as error:
                status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": error.code}
                code, found = error.code, {**status, "message": str(error), "metadata": {}}
            raw = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _found(self, path: str, query: dict[str, str], body: Any) -> Any:
            parts = URL.fullmatch(path)
            if parts is None:
                raise RefusedError(403, f'forbidden: User "me" cannot get path "{path}" at the cluster scope')
            verb = "patch" if body is not None else "get" if parts["name"] else "list"
            stub.asked.append((verb, parts["plural"]))
            if stub.hiccups and len(stub.templates) > 1:
                stub.hiccups -= 1
                raise RefusedError(503, "etcdserver: leader changed")
            if (verb, parts["plural"]) not in stub.role or "watch" in query:
                what = f'cannot {verb} resource "{parts["plural"]}" in the namespace "{parts["namespace"]}"'
                raise RefusedError(403, f'{parts["plural"]} is forbidden: User "me" {what}')
            if verb == "list":
                held = [value for key, value in stub.objects.items() if key[1] == parts["namespace"]]
                items = [pod for value in held for pod in stub.pods_of(value)]
                return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
            key = (parts["plural"], parts["namespace"], parts["name"])
            if verb == "get":
                return stub.get(*key)
            return stub.patch(key, body, self.headers["Content-Type"], query)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    config = folder / "kubeconfig"
    context = {"cluster": "stub", "user": "me", "namespace": "prod"}
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "stub",
                "clusters": [{"name": "stub", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "me", "user": {}}],
                "contexts": [{"name": "stub", "context": context}, {"name": "other", "context": context}],
            }
        )
    )
    try:
        yield config
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
