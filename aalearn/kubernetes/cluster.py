"""A cluster through lightkube: the few requests that are made of it, and its errors in one line.

Only these verbs are used, all within one namespace: `get` and `patch` of workloads, `list` of pods. lightkube is the
extra `kubernetes` and is imported when a cluster is asked for.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aalearn.kubernetes.workloads import KINDS, Kind
from aalearn.model.errors import AalearnError, UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lightkube import Client, KubeConfig

MANAGER: Final = "aalearn"
_VERSIONS: Final = {"": "v1", "apps": "v1", "batch": "v1"}
_FORBIDDEN, _MISSING, _CONFLICT = 403, 404, 409
_PASSING, _SERVER = frozenset({408, 429}), 500


class Refused(AalearnError):
    """The API server refused a request; `status` is the HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered a little later."""
        return self.status in _PASSING or self.status >= _SERVER


class Unreachable(AalearnError):
    """The API server did not answer."""


class Cluster:
    """One cluster, as one context of a kubeconfig sees it."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self.namespace = client, namespace
        self._resources: dict[str, Any] = {}

    @classmethod
    def connect(cls, context: str | None, namespace: str | None) -> Cluster:
        """Return the cluster of a context (default: the current one, or the one that this runs in).

        Raises UsageError when lightkube is missing or the kubeconfig is unfit. Nothing is asked of the cluster yet.
        """
        try:
            from lightkube import Client
            from lightkube.core.exceptions import ConfigError
        except ImportError:
            raise UsageError("a cluster needs the extra kubernetes: pip install 'aalearn[kubernetes]'") from None
        import yaml  # lightkube's own dependency

        try:
            config = _kubeconfig(context).get(context)
            if config is None:
                raise UsageError("no cluster is configured: set KUBECONFIG, or name a context with --context")
            client = Client(config, namespace=namespace, field_manager=MANAGER)
        except ConfigError as error:
            raise UsageError(f"can't use the kubeconfig: {shown(str(error))}") from None
        except OSError as error:
            told = f"{shown(str(error.filename or 'it'))}: {error.strerror or shown(str(error))}"
            raise UsageError(f"can't use the kubeconfig: {told}") from None
        except (KeyError, TypeError, AttributeError, AssertionError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"the kubeconfig is damaged ({shown(' '.join(str(error).split()))})") from None
        return cls(client, client.namespace)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, kind: Kind, name: str, namespace: str) -> dict[str, Any]:
        """Return an object as the server has it. Raises UsageError when it is not there, Refused."""
        title = _title(kind, namespace, name)
        try:
            with _asked(f"get {title}"):
                return dict(self._client.get(self._resource(kind), name, namespace=namespace))
        except Refused as error:
            if error.status == _MISSING:
                raise UsageError(f"there is no {title}") from None
            raise

    def apply(
        self, kind: Kind, name: str, namespace: str, body: Mapping[str, Any], *, force: bool, dry_run: bool
    ) -> dict[str, Any]:
        """Apply a body on the server as the field manager aalearn and return the object. Raises Refused."""
        from lightkube.types import PatchType

        with _asked(f"patch {_title(kind, namespace, name)}"):
            resource = self._resource(kind)
            done = self._client.patch(
                resource,
                name,
                dict(body),
                namespace=namespace,
                patch_type=PatchType.APPLY,
                field_manager=MANAGER,
                force=force,
                dry_run=dry_run,
            )
            return dict(done)

    def change(
        self, kind: Kind, name: str, namespace: str, patch: list[dict[str, Any]], *, dry_run: bool
    ) -> dict[str, Any]:
        """Make a JSON patch (RFC 6902) and return the object. Raises Refused, with 422 when a test in it fails."""
        from lightkube.types import PatchType

        with _asked(f"patch {_title(kind, namespace, name)}"):
            done = self._client.patch(
                self._resource(kind),
                name,
                patch,
                namespace=namespace,
                patch_type=PatchType.JSON,
                field_manager=MANAGER,
                dry_run=dry_run,
            )
            return dict(done)

    def pods(self, namespace: str | None, selector: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Return Pods; `namespace` None means all of them. Raises Refused."""
        with _asked(f"list pods in {shown(namespace) if namespace else 'all namespaces'}"):
            where: Any = "*" if namespace is None else namespace
            found = self._client.list(self._resource(KINDS["Pod"]), namespace=where, labels=dict(selector or {}))
            return [dict(one) for one in found]

    def _resource(self, kind: Kind) -> Any:
        from lightkube.generic_resource import GenericNamespacedResource, create_api_info

        if kind.name not in self._resources:
            # Not registered, unlike what create_namespaced_resource gives: lightkube has a class of that name, perhaps.
            group = min(kind.groups)
            info = create_api_info(group, _VERSIONS[group], kind.name, kind.plural)
            self._resources[kind.name] = type(kind.name, (GenericNamespacedResource,), {"_api_info": info})
        return self._resources[kind.name]


def _kubeconfig(context: str | None) -> KubeConfig:
    """Return the configuration: a kubeconfig that a person named, else the one within a Pod, else ~/.kube/config."""
    from lightkube import KubeConfig

    named = [Path(name) for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    if named:
        return KubeConfig.from_file(next((path for path in named if path.is_file()), named[0]))
    return KubeConfig.from_file("~/.kube/config") if context else KubeConfig.from_env()


def _title(kind: Kind, namespace: str, name: str) -> str:
    return f"{kind.name} {shown(namespace)}/{shown(name)}"


def _code(error: Exception) -> int:
    """Return the status of an API error, 0 for other errors."""
    status = getattr(error, "status", None)
    code = getattr(status, "code", 0)
    return code if isinstance(code, int) else 0


@contextmanager
def _asked(what: str) -> Iterator[None]:
    """Turn what lightkube raises while `what` is asked into errors in one line."""
    import json

    import httpx2
    from lightkube.core.exceptions import ApiError, ConfigError

    try:
        yield
    except ApiError as error:
        code, told = _code(error), shown(" ".join(str(error.status.message or "no reason given").split()))
        if code == _CONFLICT:
            told += "; --force-conflicts takes the fields over from who manages them"
        elif code == _FORBIDDEN:
            told += "; the rights that are needed are in docs/kubernetes.md"
        raise Refused(f"the cluster refuses to {what}: {told}", code) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        told = shown(" ".join(str(error).split())) or type(error).__name__
        raise Unreachable(f"can't {what}: the cluster does not answer: {told}") from None
    except ConfigError as error:
        raise UsageError(f"can't {what}: {shown(' '.join(str(error).split()))}") from None
    except json.JSONDecodeError:
        raise AalearnError(f"can't {what}: what answers is no API server") from None
