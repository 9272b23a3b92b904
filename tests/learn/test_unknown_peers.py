"""Peers that only a signal or ptrace record names: their own records were lost, or their names can't be spelled."""

import pytest

from aalearn.learn.synthesis import synthesize
from aalearn.model.event import Access, Event, Verdict


@pytest.mark.parametrize(
    "peer", [b"P//null-/usr/bin/x", b"P//null-bad name", b"P//hat", b"P//null-/a//null-/b", b"P//&Q"]
)
def test_a_peer_without_records_of_its_own_is_folded(peer: bytes) -> None:
    fields = (
        ("class", b"signal"),
        ("denied_mask", b"send"),
        ("peer", peer),
        ("requested_mask", b"send"),
        ("signal", b"term"),
    )
    synthesis = synthesize(b"P", [Access(1, Event(Verdict.ALLOWED, "signal", b"P", fields), None, 1, 1, 1)])
    rules = [line.rule.text() for line in synthesis.document.profile.lines]
    assert any(rule.startswith("signal (send) set=(term) peer=") for rule in rules)
    assert not any("null-" in rule for rule in rules)
