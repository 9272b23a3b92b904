"""Every live source on the real kernel: complete, counted once, not to be forged; and each loss is told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vm.bed import Bed

pytestmark = [pytest.mark.vm, pytest.mark.slow]
COUNT = 800


@pytest.fixture(scope="module")
def told(vm_ready: None) -> Iterator[dict[str, Any]]:
    """What the probe found, with auditd and journald's audit socket both on."""
    probe = Path(__file__).with_name("probes") / "sources.py"
    with Bed("6.12", aalearn=True) as bed:
        bed.put("/root/sources.py", probe.read_text())
        bed.check(
            "systemctl unmask systemd-journald-audit.socket; systemctl stop systemd-journald.service; "
            "systemctl start systemd-journald-audit.socket systemd-journald.service; sleep 1"
        )
        output = bed.check(f"$(head -1 $(readlink -f $(command -v aalearn)) | cut -c3-) /root/sources.py {COUNT}", 300)
        yield json.loads(output.strip().splitlines()[-1])


@pytest.mark.parametrize("source", ["audit.log", "journalctl", "library", "netlink"])
def test_complete_once_and_trusted(told: dict[str, Any], source: str) -> None:
    heard = told["heard"][source]
    # A few records come to the journal by the kernel's ring too, with the same serials: intake counts them once.
    assert (heard["different"], heard["untrusted"]) == (COUNT, 0)
    assert heard["most"] <= (1 if source in ("audit.log", "netlink") else 2)
    assert heard["losses"] == {}


def test_nothing_that_a_program_wrote_is_a_record(told: dict[str, Any]) -> None:
    for heard in told["heard"].values():
        assert heard["forged_lines"] == 0
    assert told["heard"]["kmsg"]["counts"]["forged"] >= 2  # the kernel limits what programs may write there
    assert told["heard"]["hearsay"]["counts"]["forged"] >= 3
    assert told["heard"]["netlink"]["counts"]["forged"] >= 1


def test_what_is_used_and_said(told: dict[str, Any]) -> None:
    assert told["look"] == {"auditd": True, "journal_audit": True, "audit_read": True}
    assert told["auto"] == ["audit.log:/var/log/audit/audit.log", "kmsg"]
    assert any("journal: not used: it holds the same records" in line for line in told["said"])


def test_each_loss_is_told(told: dict[str, Any]) -> None:
    losses = told["losses"]
    assert losses["netlink"].get("netlink", 0) >= 1
    assert losses["kmsg"].get("kmsg-overrun", 0) >= 100
    assert losses["journal"].get("journal-vacuumed", 0) >= 1
