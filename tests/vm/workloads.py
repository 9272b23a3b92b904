"""Workloads in the guest: how each is started and exercised, what an attacker tries in it, the road to enforce mode.

A workload is learned and promoted with the commands that a person types. An attack runs *inside* the confined program:
it stands for an attacker who has code running there. It must fail, and the kernel must say that it denied it.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.vm.bed import Bed, Result
from tests.vm.typist import Typist

AUDIT = "/var/log/audit/audit.log"
# A window of some runs and seconds instead of twenty and a day: the machine is thrown away after the test.
ENVIRONMENT = {"AALEARN_PROMOTION__QUIET_DAYS": "0", "AALEARN_PROMOTION__RUNS": "3"}


@dataclass(frozen=True, slots=True)
class Attack:
    """What an attacker tries: `script` runs it in the confined program; its denial's record matches `denied`."""

    name: str
    script: str
    denied: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A program to be confined. `files` are put into the guest (path → content, mode); `setup` runs once after that.

    `draft` are the arguments of `aalearn draft` after the profile's name. `exercise` must succeed whether it is learned
    or enforced; it is run `runs` times to learn. `units` are restarted when it is promoted.
    """

    profile: str
    draft: Sequence[str]
    exercise: str
    attacks: Sequence[Attack]
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    setup: str = "true"
    runs: int = 4
    units: Sequence[str] = ()


class Road:
    """One workload on its way from draft to enforce mode and back, in a guest."""

    def __init__(self, bed: Bed, workload: Workload, typist: Typist) -> None:
        self.bed = bed
        self.workload = workload
        self._typist = typist
        for path, (content, mode) in workload.files.items():
            bed.put(path, content, mode)
        bed.check(workload.setup)

    def aalearn(self, *arguments: str, code: int | None = 0) -> Result:
        """Type a command in the guest; `code` is the exit code that it must have, None for any."""
        result = self._typist.type(*arguments)
        assert code is None or result.code == code, f"aalearn {arguments}: exit {result.code}\n{result.output}"
        return result

    def document(self, *arguments: str, code: int | None = 0) -> dict[str, Any]:
        """Type a command with `--output json`, and return what it prints on standard output."""
        output = self.aalearn("--quiet", "--output", "json", *arguments, code=code).output
        found: dict[str, Any] = json.loads(output[output.index("{") :])
        return found

    def draft(self) -> None:
        """Draft and load the learning profile."""
        self.aalearn("draft", self.workload.profile, *self.workload.draft)
        assert self.modes()[self.workload.profile] == "complain"

    def exercise(self, times: int | None = None) -> None:
        """Use the workload as its users do: so many runs, an hour of the guest's clock apart (close starts are one)."""
        for _ in range(self.workload.runs if times is None else times):
            self.bed.check("date -s '+1 hour' > /dev/null")
            self.bed.check(self.workload.exercise)

    def learn(self) -> None:
        """Read what the kernel logged. Only root could write there."""
        self.settle()
        self.aalearn("--quiet", "ingest", "--trusted", AUDIT)

    def review(self) -> None:
        """Accept what waits for a person: each rule, with a reason where it needs one."""
        decisions: list[str] = []
        for one in self.document("review", self.workload.profile, code=None)["waiting"]:
            decisions += ["--approve" if one["tier"] == 1 else "--accept", one["rule"]]
        if decisions:
            self.aalearn("review", self.workload.profile, *decisions, "--reason", "the test needs it")

    def promote(self, *more: str, code: int | None = 0) -> dict[str, Any]:
        """Keep a revision and promote it; return what promote says."""
        self.aalearn("--quiet", "suggest", self.workload.profile, "--save")
        units = [word for unit in self.workload.units for word in ("--restart", unit)]
        return self.document("promote", self.workload.profile, *units, *more, code=code)

    def modes(self) -> dict[str, str]:
        """Return the mode of each loaded profile, as the kernel says."""
        found = self.bed.check("cat /sys/kernel/security/apparmor/profiles")
        return {match[1]: match[2] for match in re.finditer(r"^(.*) \(([a-z]+)\)$", found, re.MULTILINE)}

    def mark(self) -> int:
        """Return where the kernel's log ends now."""
        self.settle()
        return int(self.bed.check(f"stat -c %s {AUDIT}"))

    def denied(self, since: int) -> list[str]:
        """Return the denials of the profile, its children and hats after a mark."""
        self.settle()
        lines = self.bed.check(f"tail -c +{since + 1} {AUDIT}").splitlines()
        name = re.escape(self.workload.profile)
        return [line for line in lines if re.search(rf'apparmor="DENIED".* profile="{name}(//[^"]*)?"', line)]

    def settle(self) -> None:
        """Wait until auditd has written all that there was: until a record of our own comes through."""
        word = f"settled-{time.monotonic_ns()}"
        self.bed.check(
            f"auditctl -m {word} && for i in $(seq 200); do grep -q {word} {AUDIT} && exit; sleep .05; done; exit 1"
        )

    def attack_all(self) -> dict[str, list[str]]:
        """Try all attacks, one after another; return the records of the denials of each.

        It fails the test when one works or is not logged. The log is read once: the records tell the attacks apart.
        """
        since = self.mark()
        tried = {attack.name: self.bed.run(attack.script) for attack in self.workload.attacks}
        worked = {name: result.output for name, result in tried.items() if result.code == 0}
        assert not worked
        denied = self.denied(since)
        found = {one.name: [line for line in denied if re.search(one.denied, line)] for one in self.workload.attacks}
        silent = {name: tried[name].output for name, lines in found.items() if not lines}
        assert not silent, "\n".join(map(_short, denied))
        return found

    def attack(self, attack: Attack) -> str:
        """Try an attack; return the record of its denial. It fails the test when it works or is not logged."""
        since = self.mark()
        result = self.bed.run(attack.script)
        assert result.code != 0, f"{attack.name} worked:\n{result.output}"
        found = [line for line in self.denied(since) if re.search(attack.denied, line)]
        assert found, f"{attack.name} was not denied by the kernel:\n{result.output}\n{self.denied(since)}"
        return found[0]


def _short(record: str) -> str:
    """Return what a record says, without who."""
    return record.partition("apparmor=")[2].partition(" fsuid=")[0]


def in_script(words: str) -> str:
    """Return how an attacker's words run in `SCRIPT`, which evaluates what it is given."""
    return f"TODO={_quoted(words)} /usr/local/bin/report.sh"


def _quoted(words: str) -> str:
    return "'" + words.replace("'", "'\\''") + "'"


SCRIPT = """\
#!/bin/bash
# Makes a report with a few tools. TODO is the hole in it: whatever stands there is evaluated.
set -e
if [ -n "$TODO" ]; then eval "$TODO"; exit; fi
date +%s > /var/lib/report/when
sort /srv/report/input | uniq -c > /var/lib/report/out
wc -l < /var/lib/report/out
. /etc/os-release
echo "$NAME" >> /var/lib/report/log
"""

BASH = Workload(
    profile="report",
    draft=("--exe", "/usr/local/bin/report.sh"),
    files={
        "/usr/local/bin/report.sh": (SCRIPT, 0o755),
        "/srv/report/input": ("b\na\nb\n", 0o644),
    },
    setup="mkdir -p /var/lib/report",
    exercise="/usr/local/bin/report.sh",
    attacks=(
        Attack("read /etc/shadow", in_script("read -r line < /etc/shadow"), 'name="/etc/shadow"'),
        Attack(
            "write a cron file", in_script("echo '* * * * * root id' > /etc/cron.d/evil"), 'name="/etc/cron.d/evil"'
        ),
        Attack("run another shell", in_script("/bin/dash -c id"), 'operation="exec".*name="/usr/bin/dash"'),
        Attack(
            "write its own script", in_script("echo id >> /usr/local/bin/report.sh"), "report.sh.*denied_mask=.*[aw]"
        ),
        Attack("open a socket", in_script("exec 3<>/dev/tcp/127.0.0.1/9"), 'operation="create".*family="inet"'),
        Attack("kill a neighbour", in_script("kill -9 1"), 'operation="signal".*denied_mask="send"'),
        Attack(
            "load a module by proxy", in_script("echo /tmp/x > /proc/sys/kernel/modprobe"), "/proc/sys/kernel/modprobe"
        ),
    ),
)
