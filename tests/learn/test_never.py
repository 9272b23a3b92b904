"""Laws of generalisation: nothing sensitive is opened, every event is covered, order and amount of events do not
matter.
"""

import random
from dataclasses import replace

import pytest

from aalearn.grammar.writer import write
from aalearn.learn.crossing import crosses
from aalearn.learn.generalise import READS, WRITES, generalise
from aalearn.learn.options import Mode, Options
from aalearn.learn.population import Population
from aalearn.learn.sensitive import never
from aalearn.learn.synthesis import Synthesis
from aalearn.learn.tree import Seen, Use
from aalearn.model.event import Access
from aalearn.model.pattern import Chars, Literal, Pattern, Star, Var
from aalearn.rules.file import FileRule
from tests.learn.accesses import Made
from tests.learn.conftest import STANDING, learn, patterns

TREES = 10_000
FOLDERS = (
    *("/etc", "/etc/ssl", "/etc/ssl/private", "/etc/cron.d", "/etc/ssh", "/root", "/home/ann", "/home/bob", "/proc/12"),
    *(
        "/proc/1",
        "/proc/77/task/78",
        "/proc",
        "/proc/sys/kernel",
        "/run",
        "/run/secrets",
        "/run/docker",
        "/var/run/dbus",
    ),
    *("/dev", "/dev/mapper", "/boot", "/sys/fs/cgroup", "/sys/devices/pci0000:00/0000:00:03.0", "/usr/bin", "/usr/lib"),
    *("/usr/lib/x86_64-linux-gnu", "/usr/lib/python3.11/__pycache__", "/srv/app", "/srv/app/data", "/var/lib/app/base"),
    *("/tmp", "/var/log/app", "/var/lib/kubelet/pods", "/opt/app/bin", "/srv/www/.git/objects/ab"),
)
NAMES = (
    *("shadow", "gshadow", "sudoers", "ld.so.preload", "x.key", "y.pem", ".htpasswd", ".bashrc", ".ssh", "id_rsa"),
    *(
        "mem",
        "maps",
        "environ",
        "status",
        "cmdline",
        "kcore",
        "sysrq-trigger",
        "app.sock",
        "bus",
        "sda",
        "dm-0",
        "loop7",
    ),
    *("libx.so.6", "liby.so.1.2", "mod.cpython-311.pyc", "tool", "page001.html", "page002.html", "page003.html"),
    *("log-2024-01-01.txt", "log-2024-01-02.txt", "log-2024-01-03.txt", "1", "2", "3", "16384", "16385", "16386"),
    *("0a1b2c", "4d5e6f", "778899", "aa00bb", "tmp_a1B2c3", "tmp_Z9y8X7", "tmp_q0W1e2", "app.log", "app.log.1"),
    *("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3302", "a" * 64, "b" * 63 + "0"),
    *(
        "..2024_01_02_03_04_05.123456",
        "secret.txt",
        "memo01",
        "maps12",
        "shad0w",
        "abcdef",
        "x1.conf",
        "x2.conf",
        "x3.conf",
    ),
)
# What nobody in the generated trees asks for: none of it may come to be allowed.
SENSITIVE = (
    *(
        b"/etc/shadow",
        b"/etc/gshadow",
        b"/etc/sudoers.d/x",
        b"/etc/cron.d/evil",
        b"/etc/ssl/private/a.key",
        b"/etc/crontab",
    ),
    *(
        b"/etc/ssh/ssh_host_rsa_key",
        b"/etc/kubernetes/admin.conf",
        b"/root/.ssh/id_rsa",
        b"/root/x",
        b"/home/ann/.profile",
    ),
    *(
        b"/home/carol/.ssh/id_rsa",
        b"/run/secrets/token",
        b"/var/run/secrets/token",
        b"/run/docker.sock",
        b"/proc/1/mem",
    ),
    *(b"/run/dbus/system_bus_socket", b"/proc/99/mem", b"/proc/99/environ", b"/proc/99/maps", b"/proc/99/task/99/mem"),
    *(
        b"/proc/sys/kernel/core_pattern",
        b"/proc/sysrq-trigger",
        b"/proc/kcore",
        b"/dev/mem",
        b"/dev/sda1",
        b"/dev/dm-3",
    ),
    *(
        b"/boot/vmlinuz",
        b"/srv/app/server.key",
        b"/srv/app/data/server.pem",
        b"/srv/www/.htaccess",
        b"/srv/app/.htpasswd",
    ),
    *(b"/var/lib/app/base/1.key", b"/tmp/abcdef.key", b"/dev/loop9", b"/run/containerd/containerd.sock"),
)
WRITE_ONLY = (b"/usr/bin/newtool", b"/usr/lib/libnew.so.1", b"/opt/app/bin/x", b"/sys/fs/cgroup/x/release_agent")


def tree(number: int) -> dict[bytes, Use]:
    """Return what a generated program needed: 4 to 24 paths with random letters and runs."""
    chance = random.Random(number)
    uses: dict[bytes, Use] = {}
    folders = chance.sample(FOLDERS, 3)
    for _ in range(chance.randint(4, 24)):
        path = f"{chance.choice(folders)}/{chance.choice(NAMES)}"
        if chance.random() < 0.3:
            path += f"/{chance.choice(NAMES)}"
        runs = set(chance.sample(range(1, 6), chance.randint(1, 4)))
        use = uses.setdefault(path.encode(), Use(made=chance.random() < 0.6, moved=chance.random() < 0.2))
        use.need.paths.add(path.encode())
        for letter in chance.choice(("r", "rm", "w", "rw", "rk")):
            seen = Seen({len(uses)}, runs, len(runs) * 2, chance.random() < 0.7)
            use.need.letters.setdefault(letter, Seen()).take(seen)
    return uses


def test_nothing_on_the_never_across_list_is_generalised_into() -> None:
    population = Population(path.encode() for path in (f"{folder}/{name}" for folder in FOLDERS for name in NAMES))
    for number in range(TREES):
        uses = tree(number)
        options = Options(population=population if number % 3 == 0 else None, host_agent=number % 2 == 0)
        for group in generalise(uses, options):
            if group.pattern.is_literal or group.proposed:
                continue
            writes = bool(WRITES & group.need.letters.keys())
            for path in SENSITIVE + (WRITE_ONLY if writes else ()):
                assert path in uses or not group.pattern.matches(path), (number, group.pattern.text(), path)
            if group.why and number % 10 == 0:
                for letters in (READS, WRITES):
                    held = frozenset(letters & group.need.letters.keys())
                    assert not held or not crosses(group.pattern, held), (number, group.pattern.text())


def test_every_event_is_covered() -> None:
    for number in range(0, TREES, 10):
        uses = tree(number)
        groups = generalise(uses, Options())
        for path, use in uses.items():
            held: set[str] = set()
            for group in groups:
                if group.pattern.matches(path):
                    held |= group.need.letters.keys()
            assert held >= use.need.letters.keys(), (number, path)


def accesses(number: int) -> list[Access]:
    """Return a generated tree as accesses."""
    made = Made()
    for path, use in sorted(tree(number).items()):
        for letter, seen in sorted(use.need.letters.items()):
            mask = "wc" if letter == "w" and use.made else letter
            made.file(path, mask, tuple(seen.runs), owner=seen.owner, count=seen.count)
    return made.all


@pytest.mark.parametrize("number", range(0, 400, 20))
def test_order_and_ids_do_not_matter(number: int) -> None:
    found = accesses(number)
    shuffled = [replace(access, id=1000 - access.id) for access in found]
    random.Random(number).shuffle(shuffled)
    first, second = learn(found), learn(shuffled)
    assert write(first.document) == write(second.document)
    assert [one.event for one in first.learned] == [one.event for one in second.learned]
    assert first.notes == second.notes


def rules_of(made: Synthesis) -> list[FileRule]:
    """Return the standing file rules."""
    return [rule.rule for rule in made.judged if isinstance(rule.rule, FileRule) and rule.state in STANDING]


@pytest.mark.parametrize("number", range(0, 600, 12))
def test_more_events_never_narrow_a_pattern(number: int) -> None:
    found = accesses(number)
    few = learn(found[::2], mode=Mode.ALL)
    previous = tuple(("p", rule) for rule in rules_of(few))
    more = learn(found, mode=Mode.ALL, previous=previous)
    for rule in rules_of(few):
        wide = replace(rule, owner=True)
        assert any(other.covers(wide) for other in rules_of(more)) or _by_parts(wide, rules_of(more)), rule.text()


def _by_parts(rule: FileRule, others: list[FileRule]) -> bool:
    """Return whether several rules together cover one, a letter each."""
    return all(any(other.covers(replace(rule, perms=frozenset(letter))) for other in others) for letter in rule.perms)


def test_an_actor_that_floods_a_folder_gets_no_pattern() -> None:
    for amount in (2, 10, 10_000):
        made = Made()
        for number in range(amount):
            made.file(f"/srv/drop/evil{number:05}.sh", "wc", (7,), owner=True)
            if amount <= 10:
                made.file(f"/srv/drop/{random.Random(number).randbytes(6).hex()}", "wc", (7,), owner=True)
        for run in (1, 2, 3):
            made.file("/srv/drop/index", "wc", (run,), owner=True)
        found = learn(made.all)
        assert all(pattern.is_literal for pattern in patterns(found))
        assert not any(pattern.matches(b"/srv/drop/other") for pattern in patterns(found))
        assert len(patterns(found)) < 250
        if amount > 250:
            assert any("flood" in note.text for note in found.notes)
            assert sum(one.withheld for one in found.learned) == 200  # the others are counted, not looked at
            assert any(f"{amount - 400:,} further names in /srv/drop/" in note.text for note in found.notes)


def test_a_flood_over_several_runs_types_no_more_than_its_names() -> None:
    made = Made()
    for run in (1, 2, 3, 4):
        for number in range(50):
            made.file(f"/srv/drop/evil{run}{number:03}.sh", "wc", (run,), owner=True)
    found = learn(made.all)
    for path in (b"/srv/drop/x", b"/srv/drop/evil.sh", b"/srv/drop/evil1.key", b"/srv/drop/other.sh", b"/srv/drop/a/b"):
        assert not any(pattern.matches(path) for pattern in patterns(found))


def test_the_reader_of_shadow_gets_a_review_entry_and_no_rule() -> None:
    made = Made()
    made.file("/etc/motd")
    made.file("/etc/shadow", runs=(2,))
    found = learn(made.all)
    assert all(not pattern.matches(b"/etc/shadow") for pattern in patterns(found))
    assert [waiting.rule for waiting in found.withheld] == ["/etc/shadow r,"]
    assert found.withheld[0].tier == 2
    alone = Made()
    alone.file("/etc/shadow", runs=(1,))
    assert not patterns(learn(alone.all))


def test_names_that_imitate_recognisers_stay_literal() -> None:
    made = Made()
    secret = "/srv/vault/3f2504e0-4f89-11d3-9a0c-0305e82c3301"
    made.file(secret, runs=(1, 2, 3))
    made.file("/srv/vault/" + "deadbeef" * 8, runs=(1, 2, 3))
    made.file("/srv/vault/..2024_13_40_99_99_99.x", runs=(1, 2))
    for word in ("backup", "config", "master"):
        made.file(f"/srv/words/{word}", "wc", (len(word) - 5 + ord(word[0]) % 3,), owner=True)
    for word in ("cafe", "dead", "face", "fade"):
        made.file(f"/srv/hex/{word}", runs=(1, 2))
    found = patterns(learn(made.all))
    assert all(pattern.is_literal for pattern in found)


def test_one_run_alone_types_nothing_however_many_names_it_brings() -> None:
    made = Made()
    for number in range(30):
        made.file(f"/srv/ids/{number:032x}", runs=(1,))
        made.file(f"/srv/numbers/{number:04}", runs=(1,))
    made.file("/srv/other", runs=(1, 2))
    assert all(pattern.is_literal for pattern in patterns(learn(made.all)))


def test_never_knows_the_list() -> None:
    assert all(never(path) for path in SENSITIVE)
    assert all(never(path, write=True) for path in WRITE_ONLY)
    for path in (b"/etc/passwd", b"/var/lib/app/x", b"/srv/app/index.html", b"/proc/12/status", b"/dev/null"):
        assert not never(path, write=path.startswith(b"/var"))


def test_crossing_asks_the_whole_language() -> None:
    reads = frozenset("r")
    assert crosses(Pattern.of(Literal(b"/srv/x"), Star()), reads)  # /srv/x.key
    assert crosses(Pattern.of(Literal(b"/etc/"), Chars("a-z", 6)), reads)  # /etc/shadow
    assert not crosses(Pattern.of(Literal(b"/srv/"), Chars("a-z", 6)), reads)
    assert not crosses(Pattern.of(Literal(b"/srv/page"), Var("int"), Literal(b".html")), reads)
    assert crosses(Pattern.of(Literal(b"/usr/bin/"), Chars("a-z", 5)), frozenset("w"))
