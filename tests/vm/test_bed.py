"""The test bed is what it says: a real kernel with AppArmor on, auditd running, files in and out."""

from collections.abc import Iterator

import pytest

from tests.vm.bed import Bed

pytestmark = [pytest.mark.vm, pytest.mark.slow]


@pytest.fixture(scope="module")
def bed(vm_ready: None) -> Iterator[Bed]:
    with Bed("6.12") as booted:
        yield booted


def test_apparmor_mediates_and_auditd_writes(bed: Bed) -> None:
    assert bed.check("aa-enabled").strip() == "Yes"
    bed.put("/etc/apparmor.d/t", "abi <abi/4.0>,\nprofile t flags=(complain,attach_disconnected,mediate_deleted) { }\n")
    bed.check("apparmor_parser -r /etc/apparmor.d/t && aa-exec -p t -- /usr/bin/cat /etc/hostname")
    bed.check(
        'for i in $(seq 50); do grep -q \'profile="t".*name="/etc/hostname"\' /var/log/audit/audit.log && exit; '
        "sleep .1; done; exit 1"
    )


def test_files_come_and_go_as_they_are(bed: Bed) -> None:
    data = bytes(range(256)) * 1000
    bed.put("/root/x", data, mode=0o600)
    assert bed.get("/root/x") == data
    assert bed.check("stat -c %a /root/x").strip() == "600"


def test_a_script_that_fails_or_hangs_is_told(bed: Bed) -> None:
    assert bed.run("echo out; echo err >&2; exit 3") == bed.run("printf 'out\\nerr\\n'; exit 3")
    assert bed.run("sleep 60", seconds=1).code == 124
