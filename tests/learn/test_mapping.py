"""A learning profile's `audit /** ix,` lets mapping as code pass: what was asked for tells it, not what was missing."""

import pytest

from aalearn.learn.synthesis import synthesize
from aalearn.model.event import Access, Event, Verdict

LIB = b"/usr/lib/libx.so"


def learned(verdict: Verdict, operation: str, requested: str, denied: str | None) -> list[str]:
    fields = {"name": LIB, "requested_mask": requested.encode(), "class": b"file"}
    if denied is not None:
        fields["denied_mask"] = denied.encode()
    event = Event(verdict, operation, b"app", tuple(sorted(fields.items())))
    access = Access(1, event, False, 1, 1, 1, runs=(1, 2), run_count=2)
    return [one.rule.text() for one in synthesize(b"app", (access,)).judged]


@pytest.mark.parametrize(
    ("verdict", "operation", "requested", "denied", "rules"),
    [
        (Verdict.ALLOWED, "file_mmap", "rm", "r", ["/usr/lib/libx.so rm,"]),
        (Verdict.ALLOWED, "file_mmap", "rm", "rm", ["/usr/lib/libx.so rm,"]),
        (Verdict.ALLOWED, "file_mmap", "m", "m", ["/usr/lib/libx.so m,"]),
        (Verdict.ALLOWED, "file_mmap", "r", "r", ["/usr/lib/libx.so rm,"]),
        (Verdict.AUDIT, "file_mmap", "m", None, ["/usr/lib/libx.so m,"]),
        (Verdict.AUDIT, "file_mmap", "r", None, []),
        (Verdict.AUDIT, "open", "rm", None, []),
        (Verdict.ALLOWED, "open", "r", "r", ["/usr/lib/libx.so r,"]),
    ],
)
def test_mapping(verdict: Verdict, operation: str, requested: str, denied: str | None, rules: list[str]) -> None:
    assert learned(verdict, operation, requested, denied) == rules
