"""The service as a machine has it: from boot, as its own user, under its own enforced profile, reading real logs.

One boot, and the tests follow one another: what the first ones did is part of what the last one looks at.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.vm.bed import Bed

pytestmark = [pytest.mark.vm, pytest.mark.slow]

AUDIT = "/var/log/audit/audit.log"
CONFIG = '[run]\nsources = ["audit.log", "journal", "journal:hearsay"]\n[metrics]\nseconds = 1\n'
PATIENCE = 300.0  # seconds: emulation is slow, and slower beside others
FORGED = 'apparmor="ALLOWED" operation="open" class="file" profile="{}" name="/etc/shadow" pid=1 comm="x" ' + (
    'requested_mask="r" denied_mask="r" fsuid=0 ouid=0'
)


class Guest:
    """The booted machine and what the tests ask of it again and again."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed

    def until(self, holds: Callable[[], bool], what: Callable[[], object] = lambda: "") -> None:
        """Wait for something that the service does in its own time."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"{what()}\n{self.bed.run('journalctl -u aalearn -n 20').output}"
            time.sleep(2)

    def unit(self, name: str) -> str:
        """Return a property of the unit."""
        return self.bed.check(f"systemctl show -P {name} aalearn.service").strip()

    def started(self) -> None:
        """Wait until the service says that it is ready."""
        self.until(lambda: self.unit("ActiveState") == "active", lambda: self.unit("ActiveState"))

    def status(self, profile: str) -> dict[str, Any]:
        """Return what the list of `aalearn status` says of a profile; {} when it knows none of that name."""
        found = json.loads(self.bed.check("aalearn --quiet --output json status", 300))["profiles"]
        return next((one for one in found if one["profile"] == profile), {})

    def metric(self, name: str) -> float:
        """Return one figure of the metrics file, 0 where it is not."""
        text = self.bed.run("cat /var/lib/aalearn/metrics/aalearn.prom").output
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def logged(self, profile: str) -> int:
        """Return how many records of a profile the kernel's own log has."""
        self.bed.check(
            f"m=settle-$RANDOM; auditctl -m $m; for i in $(seq 100); do grep -q $m {AUDIT} && break; sleep .1; done"
        )
        return int(
            self.bed.run(f"grep -cE '^type=AVC .*apparmor=.(ALLOWED|AUDIT). .*profile=.{profile}\\b' {AUDIT}").output
        )

    def all_counted(self, profile: str) -> None:
        """Wait until the store has as many events of a profile as the log has."""
        lag = f'aalearn_source_lag_bytes{{source="audit.log:{AUDIT}"}}'
        self.until(lambda: self.metric(lag) == 0)  # cheaper to ask again and again
        self.until(
            lambda: self.status(profile).get("events") == self.logged(profile),
            lambda: (self.status(profile).get("events"), self.logged(profile)),
        )

    def learn(self, profile: str) -> None:
        """Load an empty complain profile."""
        text = f"abi <abi/4.0>,\nprofile {profile} flags=(complain,attach_disconnected,mediate_deleted) {{ }}\n"
        self.bed.put(f"/etc/apparmor.d/{profile}", text)
        self.bed.check(f"apparmor_parser -r /etc/apparmor.d/{profile}")


@pytest.fixture(scope="module")
def guest(vm_ready: None) -> Iterator[Guest]:
    with Bed("6.12", memory=1024, aalearn=True) as bed:
        bed.put("/etc/aalearn/config.toml", CONFIG)
        bed.check("systemctl enable -q aalearn.service aalearn-apply.socket systemd-journald-audit.socket")
        bed.reboot()
        made = Guest(bed)
        made.started()
        yield made


def test_it_is_up_after_boot_as_its_own_user_under_its_own_profile(guest: Guest) -> None:
    pid = guest.unit("MainPID")
    assert guest.bed.check(f"cat /proc/{pid}/attr/current").strip() == "aalearn (enforce)"
    status = guest.bed.check(f"cat /proc/{pid}/status")
    user = guest.bed.check("id -u aalearn").strip()
    assert re.search(r"^Uid:\s+(.*)$", status, re.MULTILINE)[1].split() == [user] * 4  # type: ignore[index]
    for capabilities in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{capabilities}:\t{0:016x}" in status
    groups = guest.bed.check(f"stat -c %g {AUDIT} /var/log/journal").split()
    assert set(groups) <= set(re.search(r"^Groups:\s+(.*)$", status, re.MULTILINE)[1].split())  # type: ignore[index]
    assert guest.bed.check("stat -c '%U %G %a' /var/lib/aalearn /run/aalearn").split("\n")[:2] == [
        "aalearn aalearn 750",
        "root root 755",
    ]


def test_the_guests_own_systemd_finds_nothing_to_say(guest: Guest) -> None:
    units = "aalearn.service aalearn-apply.socket aalearn-apply@1.service"
    found = guest.bed.run(f"systemd-analyze verify --man=no {units}")
    assert found.code == 0, found.output
    assert "aalearn" not in found.output
    guest.bed.check("systemd-analyze security --no-pager --threshold=10 aalearn.service")


def test_it_learns_from_audit_log_and_journal_each_event_once(guest: Guest) -> None:
    guest.learn("twice")
    guest.bed.check(
        "for i in $(seq 10); do echo $i > /srv/t$i; aa-exec -p twice -- /usr/bin/cat /srv/t$i > /dev/null; done"
    )
    guest.all_counted("twice")
    assert int(guest.bed.check("journalctl -q _TRANSPORT=audit --grep 'profile=.twice' -o cat | wc -l")) > 50
    guest.until(lambda: guest.metric('aalearn_records_total{result="duplicates"}') > 50)
    status = guest.status("twice")
    assert status["trusted"]
    assert status["losses"] == 0
    assert status["nodes"] == ["vm"]


def test_it_reads_the_configuration_again(guest: Guest) -> None:
    before = guest.metric("aalearn_reloads_total")
    guest.bed.check("systemctl reload aalearn")
    guest.until(lambda: guest.metric("aalearn_reloads_total") == before + 1)


def test_killed_it_comes_back_and_has_counted_all_once(guest: Guest) -> None:
    guest.learn("killed")
    work = "for i in $(seq 100); do aa-exec -p killed -- /usr/bin/cat /srv/t1 > /dev/null; sleep .1; done"
    guest.bed.check(f"systemd-run -q --unit=work /bin/bash -c '{work}'")
    for _ in range(2):
        time.sleep(5)
        guest.bed.check("kill -9 $(systemctl show -P MainPID aalearn.service)")
        guest.until(lambda: guest.unit("ActiveState") != "active")
        guest.started()
    guest.until(lambda: guest.bed.run("systemctl is-active -q work").code != 0)
    guest.all_counted("killed")
    assert int(guest.unit("NRestarts")) == 2
    assert guest.status("killed")["losses"] == 0


def test_what_is_forged_is_counted_and_never_believed(guest: Guest) -> None:
    """What is not to be read as a record (a USER record around AppArmor's text) counts as malformed."""

    def counted() -> float:
        return sum(guest.metric(f'aalearn_records_total{{result="{result}"}}') for result in ("forged", "malformed"))

    kernel = "audit: type=1400 audit(1700000000.123:77): "
    for name, command in {
        "forgedlogger": f"logger -t kernel -p kern.notice -- '{kernel}{{}}'",
        "forgedkmsg": f"echo '<5>{kernel}{{}}' > /dev/kmsg",
        "forgeduser": "auditctl -m '{}'",
        "forgedcat": "echo 'AVC {}' | systemd-cat -t audit",
    }.items():
        before = counted()
        guest.bed.check(command.format(FORGED.format(name)))
        guest.until(lambda least=before: counted() > least, lambda what=name: what)  # type: ignore[misc]
        guest.bed.check(f"journalctl -q --sync; journalctl -q --grep {name} | grep -q {name}")
        assert guest.status(name) == {}, name
    assert "forged" not in guest.bed.check("aalearn --quiet status")


def test_under_its_profile_it_was_denied_nothing(guest: Guest) -> None:
    """From boot to here: start, tail, commit, reload, kill, forged records, restart, figures."""
    guest.bed.check("systemctl restart aalearn")
    guest.started()
    guest.until(lambda: guest.metric("aalearn_profiles") > 0)
    said = guest.bed.check("journalctl -q -u aalearn --output=cat")
    assert "Traceback" not in said
    assert "were not all worked out" not in said
    denied = guest.bed.run(f"grep -ahE '^type=AVC .*apparmor=.DENIED.*profile=.aalearn\\b' {AUDIT}*").output
    assert denied == ""


@pytest.mark.parametrize(
    "deed",
    [
        "open('/etc/shadow')",
        "open('/etc/cron.d/x', 'w')",
        "open('/var/log/audit/audit.log', 'a')",
        "open('/etc/apparmor.d/aalearn', 'a')",
        "open('/root/.bashrc')",
        "os.execv('/bin/sh', ['sh'])",
        "socket.socket(socket.AF_INET)",
        "os.kill(1, signal.SIGCONT)",
        "os.mkdir('/srv/x')",
    ],
)
def test_its_profile_blocks_what_it_has_no_need_of(guest: Guest, deed: str) -> None:
    """As root with all capabilities, so that nothing but the profile stands in the way."""
    start = guest.bed.check(f"stat -c %s {AUDIT}").strip()
    done = guest.bed.run(f'aa-exec -p aalearn -- /usr/bin/python3 -c "import os, signal, socket; {deed}; print(1)"')
    assert done.code != 0, deed
    assert "PermissionError" in done.output, done.output
    guest.bed.check(
        f"for i in $(seq 50); do tail -c +{start} {AUDIT} | grep -q 'apparmor=.DENIED.*profile=.aalearn\\b' && exit; "
        "sleep .1; done; exit 1"
    )


def test_it_goes_away_again_and_leaves_what_it_learned(guest: Guest) -> None:
    setup = "sh /opt/aalearn/lib/python3*/site-packages/aalearn/_data/systemd/setup.sh"
    told = guest.bed.check(f"{setup} --remove --dry-run")
    assert "rm -f /etc/apparmor.d/aalearn" in told
    assert guest.unit("ActiveState") == "active"
    guest.bed.check(f"{setup} --remove")
    assert guest.unit("LoadState") == "not-found"
    assert "aalearn (" not in guest.bed.check("cat /sys/kernel/security/apparmor/profiles")
    assert guest.bed.run("ls /etc/apparmor.d/aalearn /run/aalearn/apply.sock").code != 0
    guest.bed.check("test -s /var/lib/aalearn/aalearn.db && id aalearn")
    # Who began with sudo and the commands installs the service afterwards: it goes on with their store.
    guest.bed.check(f"rm -r /var/lib/aalearn /var/lib/aalearn-apply && aalearn --quiet ingest --trusted {AUDIT}", 300)
    guest.bed.check("mkdir -m 700 /var/lib/aalearn/backups")
    guest.bed.check(setup)
    owners = guest.bed.check("cd /var/lib/aalearn && stat -c %U . aalearn.db ../aalearn-apply").split()
    assert owners == ["aalearn", "aalearn", "root"]
    guest.bed.check("systemctl start aalearn-apply.socket aalearn", 300)
    assert guest.bed.check("stat -c '%U %G %a' /var/lib/aalearn-apply").strip() == "root root 700"
    assert guest.bed.run("ls -d /var/lib/aalearn/backups").code != 0
