"""The hint for NetworkPolicies: a direction is closed only where nothing that was learned, or is unknown, used it."""

from typing import Any

import kubernetes_validate
import pytest

from aalearn.kubernetes.exports import FORMATS
from aalearn.kubernetes.netpol import policy, traffic
from aalearn.model.errors import UsageError
from tests.kubernetes.exported import choice, documents, learned, made
from tests.learn.accesses import Made

WEB = (("app", "web"),)


def _net(log: Made, operation: str, kind: str = "stream", **more: Any) -> Made:
    log.add(
        operation, class_="net", family=more.pop("family", "inet"), sock_type=kind, requested_mask=operation, **more
    )
    return log


@pytest.mark.parametrize(
    ("events", "closed"),
    [
        ([("create", "stream", {}), ("connect", "stream", {})], ("Ingress",)),
        (
            [("bind", "stream", {}), ("listen", "stream", {}), ("accept", "stream", {}), ("sendmsg", "stream", {})],
            ("Egress",),
        ),
        ([("bind", "stream", {}), ("connect", "stream", {})], ()),
        ([("create", "dgram", {}), ("sendmsg", "dgram", {})], ("Ingress",)),
        ([("bind", "dgram", {"lport": "53"})], ("Egress",)),
        ([("create", "raw", {})], ()),
        ([("create", "dgram", {"family": "packet"})], ()),
        ([], ("Ingress", "Egress")),
        ([("listen", "stream", {"laddr": "127.0.0.1", "lport": "80"})], ("Ingress", "Egress")),
        ([("accept", "stream", {"laddr": "::ffff:127.0.0.1", "family": "inet6"})], ("Ingress", "Egress")),
        ([("connect", "stream", {"faddr": "10.0.0.1", "fport": "5432"})], ("Ingress",)),
        ([("connect", "stream", {"faddr": "::1", "family": "inet6"})], ("Ingress", "Egress")),
        ([("connect", "stream", {"family": "unix"})], ("Ingress", "Egress")),
    ],
)
def test_directions(events: list[tuple[str, str, dict[str, Any]]], closed: tuple[str, ...]) -> None:
    log = Made()
    for operation, kind, more in events:
        _net(log, operation, kind, **dict(more))
    seen = traffic(log.all)
    assert seen.closed == closed
    if closed:
        found = policy("web-network", "shop", WEB, [b"p"], seen)
        assert kubernetes_validate.validate(found, "1.35", strict=True)
        assert found["spec"] == {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": list(closed)}
        assert "suggestion" in found["metadata"]["annotations"]["aalearn/suggestion"]


def test_children_whose_network_use_is_not_logged_close_nothing() -> None:
    log = Made()
    log.file("/etc/hosts", profile=b"p//null-/usr/bin/curl")
    seen = traffic(log.all)
    assert seen.closed == ()
    assert "audit /** ix," in seen.unknown


@pytest.mark.parser
def test_the_evidence_stands_in_the_policy(apparmor_parser: str) -> None:
    log = _net(_net(Made(), "listen", lport="8080", laddr="10.1.2.3"), "accept", lport="8080")
    exporter, one = FORMATS["networkpolicy"], made(log.all, apparmor_parser)
    done = exporter.export([one], choice(apparmor_parser, selector=WEB, namespace="shop"))
    (found,) = documents(done.files[0].content)
    assert found["spec"]["policyTypes"] == ["Egress"]
    assert "laddr=10.1.2.3 lport=8080" in found["metadata"]["annotations"]["aalearn/ingress"]
    assert found["metadata"] | {"annotations": {}} == {
        "name": "p-network",
        "namespace": "shop",
        "labels": {"app.kubernetes.io/managed-by": "aalearn"},
        "annotations": {},
    }
    with pytest.raises(UsageError, match="--selector"):
        exporter.export([one], choice(apparmor_parser))


@pytest.mark.parser
@pytest.mark.slow
def test_real_containers(apparmor_parser: str) -> None:
    """The workload listens and connects by nc; what went through children tells nothing of the network."""
    (one,) = learned("containers-6.12/runc_complain_ix", apparmor_parser)
    done = FORMATS["networkpolicy"].export([one], choice(apparmor_parser, selector=WEB))
    assert not done.files
    assert "both directions" in done.notes[0]
    (other,) = learned("containers-6.12/crun_complain_nnp0", apparmor_parser)
    with pytest.raises(UsageError, match="//null-"):
        FORMATS["networkpolicy"].export([other], choice(apparmor_parser, selector=WEB))
