"""Risk tiers: one sentence a rule, no ordinary rule that alarms."""

import pytest

from aalearn.learn.risk import Risk, assess
from aalearn.model.event import Event, Verdict
from aalearn.model.target import Target
from aalearn.rules import rules_of


def risk(operation: str, **fields: str) -> Risk:
    """Return the worst risk of what an event gives."""
    pairs = tuple(sorted((key.rstrip("_"), value.encode()) for key, value in fields.items()))
    target = Target(abi="4.0", parser=(4, 1), mediates=Target().mediates | {"userns"})
    found = [assess(rule) for rule in rules_of(Event(Verdict.ALLOWED, operation, b"p", pairs), None, target).rules]
    assert found
    return min(found, key=lambda one: one.tier or 9)


@pytest.mark.parametrize(
    ("fields", "tier", "word"),
    [
        ({"name": "/mnt/", "flags": "rw"}, 1, "without a known source"),
        ({"name": "/mnt/", "flags": "ro, nosuid", "fstype": "ext4"}, 1, "without a known source"),
        ({"name": "/", "flags": "rw, rslave"}, 2, "spread"),
        ({"name": "/", "flags": "runbindable"}, 2, "spread"),
        ({"name": "/mnt/", "srcname": "tmpfs", "flags": "rw", "fstype": "tmpfs"}, 2, "stands where"),
        ({"name": "/mnt/", "srcname": "/a/", "flags": "rw, bind"}, 2, "stands where"),
    ],
)
def test_mounts(fields: dict[str, str], tier: int, word: str) -> None:
    found = risk("mount", **fields)
    assert (found.tier, word in found.why) == (tier, True), found


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("unconfined", 1),
        (":ns:unconfined", 1),
        (":ns://unconfined", 1),
        ("p//unconfined", 1),
        ("p//&unconfined", 1),
        ("p//&:ns:unconfined", 1),
        ("unconfined_not", 3),
        ("q", 3),
    ],
)
def test_a_change_to_what_is_unconfined_in_any_namespace_is_an_escape(name: str, tier: int) -> None:
    assert risk("change_profile", name=name).tier == tier


@pytest.mark.parametrize(
    ("operation", "fields", "tier"),
    [
        ("signal", {"denied_mask": "send", "signal": "term"}, 1),
        ("signal", {"denied_mask": "send", "signal": "term", "peer": ""}, 1),
        ("signal", {"denied_mask": "send", "signal": "term", "peer": "q"}, 0),
        ("ptrace", {"denied_mask": "read"}, 1),
        ("ptrace", {"denied_mask": "tracedby", "peer": ""}, 1),
        ("ptrace", {"denied_mask": "read", "peer": "q"}, 0),
        ("connect", {"family": "unix", "sock_type": "stream", "addr": "none", "denied_mask": "connect"}, 1),
        ("sendmsg", {"family": "unix", "sock_type": "dgram", "addr": "none", "denied_mask": "send"}, 1),
        (
            "sendmsg",
            {"family": "unix", "sock_type": "dgram", "addr": "none", "denied_mask": "send", "peer_addr": "none"},
            0,
        ),
    ],
)
def test_a_rule_for_any_peer_is_withheld(operation: str, fields: dict[str, str], tier: int) -> None:
    assert risk(operation, **fields).tier == tier
