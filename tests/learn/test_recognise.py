"""The recognisers: what the place of a path says, what siblings say, and what neither may say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from aalearn.learn.recognise import joined, segments
from aalearn.learn.shapes import families, styles
from aalearn.model.pattern import Pattern
from tests.learn.accesses import Made
from tests.learn.conftest import allows, learn, texts

READ = frozenset("r")


@pytest.mark.parametrize(
    ("path", "letters", "text"),
    [
        (b"/proc/4711/status", "r", "@{PROC}/@{pid}/status"),
        (b"/proc/4711/task/4712/comm", "r", "@{PROC}/@{pid}/task/@{tid}/comm"),
        (b"/proc/1/status", "r", "@{PROC}/1/status"),
        (b"/proc/meminfo", "r", "@{PROC}/meminfo"),
        (b"/proc/sys/kernel/pid_max", "r", "/proc/sys/kernel/pid_max"),
        (b"/proc/1/environ", "r", "/proc/1/environ"),
        (b"/run/app.pid", "w", "@{run}/app.pid"),
        (b"/var/run/app.pid", "w", "@{run}/app.pid"),
        (b"/run/secrets/token", "r", "/run/secrets/token"),
        (b"/run/docker.sock", "rw", "/run/docker.sock"),
        (b"/usr/lib/x86_64-linux-gnu/libc.so.6", "rm", "/usr/lib/@{multiarch}/libc.so.[0-9]*"),
        (b"/lib/aarch64-linux-gnu/libm.so.6", "rm", "/lib/@{multiarch}/libm.so.[0-9]*"),
        (b"/usr/lib/x86_64-linux-gnu/libc.so.6", "w", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        (
            b"/usr/lib/python3.11/__pycache__/os.cpython-311.pyc",
            "r",
            "/usr/lib/python3.[0-9]*/__pycache__/os.cpython-[0-9]*.pyc",
        ),
        (
            b"/usr/lib/python3.13/lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so",
            "rm",
            "/usr/lib/python3.[0-9]*/lib-dynload/_ssl.cpython-[0-9]*.so",
        ),
        (b"/dev/pts/3", "r", "/dev/pts/[0-9]*"),
        (b"/dev/pts/3", "rw", "/dev/pts/3"),
        (
            b"/etc/config/..2024_05_06_07_08_09.123456789/app.yaml",
            "r",
            "/etc/config/..2[0-9][0-9][0-9]_[01][0-9]_[0-3][0-9]_[0-2][0-9]_[0-5][0-9]_[0-6][0-9].[0-9]*/app.yaml",
        ),
        (b"/etc/ssl/certs/ca.pem", "r", "/etc/ssl/certs/ca.pem"),
        (b"/srv/app/", "r", "/srv/app/"),
        (b"/", "r", "/"),
    ],
)
def test_what_the_place_says(path: bytes, letters: str, text: str) -> None:
    pattern = joined(segments(path, frozenset(letters)))
    assert pattern.text() == text
    assert pattern.matches(path)


INT = "[0-9]" + "{[0-9],}" * 9  # what AppArmor 4.1 calls @{int}


def runs(*names: str) -> dict[bytes, frozenset[int]]:
    """Return names each seen in a run of its own."""
    return {name.encode(): frozenset({number}) for number, name in enumerate(names)}


@pytest.mark.parametrize(
    ("names", "made", "texts"),
    [
        (("page001.html", "page002.html", "page107.html"), False, ["page[0-9][0-9][0-9].html"]),
        (("f1.txt", "f18.txt", "f3.txt"), False, [f"f{INT}.txt"]),
        (("f1.txt", "f18.txt"), False, []),
        (("16384", "16385", "16386"), False, [INT]),  # a relfilenode or a pid gets a digit more one day
        (("temp-97.rdb", "temp-98.rdb", "temp-99.rdb"), True, [f"temp-{INT}.rdb"]),
        (("seg08", "seg11", "seg12"), False, ["seg[0-9][0-9]"]),  # written at a width
        (("n0", "n1", "n2"), False, [f"n{INT}"]),
        (("at-1763424000", "at-1763424001", "at-1763424002"), False, ["at-" + "[0-9]" * 10]),  # a time
        (
            ("log-2024-01-01.txt", "log-2024-01-02.txt", "log-2024-01-03.txt"),
            False,
            ["log-2[0-9][0-9][0-9]-[01][0-9]-[0-3][0-9].txt"],
        ),
        (("a" * 64, "b" * 64), False, ["[0-9a-f]" * 64]),
        (("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3302"), False, ["uuid"]),
        (("0a", "1b", "2c", "d3"), False, ["[0-9a-f][0-9a-f]"]),
        (("0a", "1b", "2c"), False, []),
        (("tmp_obj_a1B2c3", "tmp_obj_Z9y8X7", "tmp_obj_q0W1e2"), True, ["tmp_obj_" + "[A-Za-z0-9]" * 6]),
        (("tmp_obj_a1B2c3", "tmp_obj_Z9y8X7", "tmp_obj_q0W1e2"), False, []),
        (("app-_d07l0mt", "app-a4w_y3n0", "app-h3pkvlgb", "app-sfchrm_9"), True, ["app-" + "[a-z0-9_]" * 8]),
        (("backup", "config", "master"), True, []),
        (("0000:00:03.0", "0000:00:04.0"), False, ["[0-9a-f]" * 4 + ":[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f].[0-9a-f]"]),
        (("LC_CTYPE", "LC_TIME"), False, ["LC_{CTYPE,TIME}"]),
        (("j1", "j22", "j3", "j1764020000123"), False, [f"j{INT}"]),
        (("j1764020000123", "j1764020000124", "j1764020000125", "j7"), False, ["j" + "[0-9]" * 13]),
        (("a" * 64 + "-12345678901", "b" * 64 + "-12345678902"), False, ["[0-9a-f]" * 64 + "-" + "[0-9]" * 11]),
    ],
)
def test_what_siblings_say(names: tuple[str, ...], made: bool, texts: list[str]) -> None:
    seen = runs(*names)
    found = families(seen, frozenset(seen) if made else frozenset(), frozenset(), 2)
    if texts == ["uuid"]:
        texts = ["-".join("[0-9a-f]" * length for length in (8, 4, 4, 4, 12))]
    assert [Pattern.of(*family.segment).text() for family in found] == texts
    for family in found:
        assert all(Pattern.of(*family.segment).matches(name) for name in family.names)


DIGITS = some.integers(1, 40).flatmap(lambda length: some.text("0123456789", min_size=length, max_size=length))
HEX = some.integers(1, 140).flatmap(lambda length: some.text("0123456789abcdef", min_size=length, max_size=length))
NAMES = some.builds(
    "{}{}{}{}".format,
    some.sampled_from(("", "j", "tmp-", "app.log.", "20240101-")),
    some.one_of(DIGITS, HEX, some.uuids().map(str), some.dates().map(str)),
    some.sampled_from(("", "-", ".gz", ":00:03.0")),
    some.one_of(some.just(""), DIGITS),
)


@settings(max_examples=300, deadline=None)
@given(some.sets(NAMES, min_size=3, max_size=24), some.booleans(), some.booleans())
def test_a_family_matches_each_of_its_names(names: set[str], made: bool, moved: bool) -> None:
    seen = runs(*sorted(names))
    all_of_them = frozenset(seen)
    found = families(seen, all_of_them if made else frozenset(), all_of_them if moved else frozenset(), 2)
    found += families(seen, all_of_them, frozenset(), 2, styles(found) | {(6, "a-z0-9")})
    for family in found:
        assert all(Pattern.of(*family.segment).matches(name) for name in family.names)


@pytest.mark.parametrize("length", (1, 10, 11, 13, 31, 32, 40))
def test_a_number_of_any_length_beside_short_ones_is_learned(length: int) -> None:
    made = Made()
    for run in range(1, 7):
        made.file(f"/var/spool/j{run}", runs=(run,))
    made.file("/var/spool/j" + "7" * length, runs=(7,))
    made.file("/srv/q" + "8" * length, runs=(8,))
    assert allows(learn(made.all), b"/var/spool/j" + b"7" * length)


def test_rotated_logs_need_a_rename_or_an_unlink() -> None:
    made = Made()
    made.file("/var/log/app.log", "w")
    made.file("/var/log/app.log.1", "w")
    assert "/var/log/app.log w," in texts(learn(made.all))
    made.file("/var/log/app.log", "wd", operation="rename_src")
    assert "/var/log/app.log{,.[0-9],.[0-9][0-9]} w," in texts(learn(made.all))


def test_homes_of_two_users_are_one_place_for_their_owners_alone() -> None:
    made = Made()
    for user in ("ann", "bob"):
        made.file(f"/home/{user}/notes/todo", owner=True, count=3)
        made.file(f"/home/{user}/.profile", owner=True, count=3)
    rules = texts(learn(made.all))
    assert "owner /home/*/notes/todo r," in rules
    assert "owner /home/ann/.profile r," in rules
    made.file("/home/ann/notes/todo", owner=False)
    assert "/home/ann/notes/todo r," in texts(learn(made.all))


def test_a_style_of_temporary_names_proven_elsewhere_types_a_single_one() -> None:
    made = Made()
    for run, name in enumerate(("a1B2c3", "Z9y8X7", "q0W1e2"), start=1):
        made.file(f"/srv/.git/objects/tmp_obj_{name}", "wc", (run,), owner=True)
    made.file("/srv/.git/info/refs_x7Y6z5", "wc", (3,), owner=True)
    made.file("/srv/.git/info/refs_README", "wc", (3,), owner=True)
    rules = texts(learn(made.all))
    assert any("/info/refs_" + "[A-Za-z0-9]" * 6 in rule for rule in rules)


def test_kubelet_is_typed_for_host_agents_alone() -> None:
    made = Made()
    for run, last in enumerate("12", start=1):
        made.file(f"/var/lib/kubelet/pods/3f2504e0-4f89-11d3-9a0c-0305e82c330{last}/volumes/x", runs=(run,))
    assert all("[0-9a-f]" not in rule for rule in texts(learn(made.all)))
    assert any("[0-9a-f]" in rule for rule in texts(learn(made.all, host_agent=True)))


def test_owner_needs_every_event_and_three_of_them() -> None:
    made = Made()
    made.file("/srv/a", owner=True, count=3)
    made.file("/srv/b", owner=True, count=2)
    made.file("/srv/c", owner=True, count=3)
    made.file("/srv/c", owner=False, count=1)
    made.file("/srv/d", "r", owner=True, count=3)
    made.file("/srv/d", "w", owner=True, count=1)
    rules = texts(learn(made.all))
    assert {"owner /srv/a r,", "/srv/b r,", "/srv/c r,", "owner /srv/d r,", "/srv/d w,"} == set(rules)


def test_variables_are_defined_where_the_text_stands_alone() -> None:
    made = Made()
    made.file("/proc/12/status")
    made.file("/run/x")
    document = learn(made.all, container=True).document
    assert document.includes == ()
    assert [name for name, _ in document.variables] == ["PROC", "pid", "run"]
    assert learn(made.all).document.includes == ("tunables/global",)
    assert learn(made.all).document.variables == ()
    for number in (1, 22, 333):
        made.file(f"/srv/f{number}.txt", runs=(number, 1))
    # AppArmor 4.1's tunables define @{int}, 3.0's don't: a text that names or defines it fails after an upgrade.
    found = learn(made.all)
    assert found.document.variables == ()
    assert f"/srv/f{INT}.txt r," in texts(found)
