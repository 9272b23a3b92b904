"""A made log for measurements: auditd's raw form as of kernel 6.1, with a given share of distinct records.

As in real logs, some records share a time and a process makes some hundreds of them. Newer kernels add `class=`, which
LibAppArmor 3.0 can't read: then there would be nothing to compare with.
"""

import random
from pathlib import Path

LINES = 200_000
LINES_A_PROCESS = 400  # as many as nginx or redis make at a start
_START = 1_700_000_000_000
_FOLDERS = (
    "etc/nginx/conf.d",
    "usr/lib/python3/dist-packages/app",
    "var/lib/app/cache",
    "srv/www/static/img",
    "run/app",
)
_MASKS = (
    ("open", "r"),
    ("open", "r"),
    ("open", "r"),
    ("mknod", "c"),
    ("open", "wc"),
    ("unlink", "d"),
    ("file_mmap", "mr"),
)
_PROGRAMS = ("nginx", "python3", "app-worker", "sh")


def _file(number: int, pick: random.Random) -> tuple[str, str]:
    operation, mask = pick.choice(_MASKS)
    name = f"/{pick.choice(_FOLDERS)}/{number % 97:02}/part-{number:06x}.dat"
    return (
        f'operation="{operation}" profile="app" name="{name}"',
        f'comm="{pick.choice(_PROGRAMS)}" requested_mask="{mask}" denied_mask="{mask}" '
        f"fsuid=33 ouid={pick.choice((0, 33))}",
    )


def _network(number: int, pick: random.Random) -> tuple[str, str]:
    return (
        'operation="connect" profile="app"',
        f'comm="{pick.choice(_PROGRAMS)}" family="inet" sock_type="stream" protocol=6 requested_mask="connect" '
        f'denied_mask="connect" laddr=10.0.0.5 lport={number % 900 + 100} faddr=10.1.{number % 200}.7 fport=5432',
    )


def _exec(number: int, pick: random.Random) -> tuple[str, str]:
    name = f"/usr/lib/app/bin/tool-{number:05x}"
    return (
        f'operation="exec" profile="app" name="{name}"',
        f'comm="sh" requested_mask="x" denied_mask="x" fsuid=33 ouid=0 target="app//null-{name}"',
    )


def bodies(distinct: int, seed: int = 1) -> list[tuple[str, str]]:
    """Return so many distinct bodies, as what stands before and after the pid."""
    pick = random.Random(seed)
    made = []
    for number in range(distinct):
        chance = pick.random()
        made.append((_file if chance < 0.93 else _network if chance < 0.97 else _exec)(number, pick))
    return made


def write(path: Path, unique: float, lines: int = LINES, seed: int = 2) -> None:
    """Write a log in which the share `unique` of the lines is distinct (but for pid, time and serial)."""
    pick = random.Random(seed)
    distinct = bodies(max(1, int(lines * unique)))
    order = [*range(len(distinct)), *(pick.randrange(len(distinct)) for _ in range(lines - len(distinct)))]
    pick.shuffle(order)
    pid = 300
    with path.open("w", encoding="ascii") as out:
        for serial, number in enumerate(order, 1000):
            seconds, millis = divmod(_START + serial // 4 * 4, 1000)  # the kernel stamps by ticks of 4 ms
            before, after = distinct[number]
            if pick.random() < 1 / LINES_A_PROCESS:
                pid = pid + 1 + pick.randrange(3)
            out.write(
                f'type=AVC msg=audit({seconds}.{millis:03}:{serial}): apparmor="ALLOWED" {before} pid={pid} {after}\n'
            )
