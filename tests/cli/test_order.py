"""The order and the cut in which a log is ingested don't show: the same profile bytes, evidence and state."""

from pathlib import Path

import pytest

from tests.cli.conftest import SAMPLES, Face

pytestmark = [pytest.mark.parser]


def told(aalearn: Face, db: str) -> tuple[str, str, str]:
    return (
        aalearn("--db", db, "suggest", "nginx").out,
        aalearn("--db", db, "explain", "nginx").out,
        aalearn("--db", db, "--output", "json", "review", "nginx").out,
    )


def test_parts_in_reverse_order_give_what_the_whole_gives(aalearn: Face, tmp_path: Path, apparmor_parser: str) -> None:
    log = SAMPLES / "nginx" / "audit.log"
    lines = log.read_bytes().splitlines(keepends=True)
    whole, parts = f"sqlite:///{tmp_path}/whole.db", f"sqlite:///{tmp_path}/parts.db"
    assert aalearn("--db", whole, "ingest", log).code == 0
    size = len(lines) // 7 + 1
    for number in reversed(range(7)):
        part = tmp_path / f"part{number}"
        part.write_bytes(b"".join(lines[number * size : (number + 1) * size]))
        assert aalearn("--db", parts, "ingest", part).code == 0
    expected = told(aalearn, whole)
    assert "profile nginx {" in expected[0]
    assert told(aalearn, parts) == expected
