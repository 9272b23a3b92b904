"""Times of lines that are no events."""

from datetime import UTC, datetime

import pytest

from aalearn.intake.moments import audit_time, bsd_time

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"Feb 28 16:24:01.411861 host kernel: x", "2026-02-28T16:24:01+00:00"),
        (b"<6>Mar  2 00:00:00 host kernel: x", "2026-03-02T00:00:00+00:00"),
        (b"Nov 23 16:24:01 host kernel: x", "2025-11-23T16:24:01+00:00"),
        (b"Feb 29 00:00:00 host kernel: x", "2024-02-29T00:00:00+00:00"),
    ],
)
def test_syslog_without_a_year(text: bytes, moment: str) -> None:
    assert bsd_time(text, NOW) == datetime.fromisoformat(moment).timestamp() * 1000


@pytest.mark.parametrize("text", [b"", b"Nov 23", b"Nov 99 16:24:01 x", b"[ 1.0] Nov 23 16:24:01", b"Feb 30 00:00:00"])
def test_no_time(text: bytes) -> None:
    assert bsd_time(text, NOW) == audit_time(text) == 0


def test_audit() -> None:
    assert audit_time(b"type=AVC msg=audit(1700000000.123:4") == 1_700_000_000_123
