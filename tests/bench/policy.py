"""How fast the compiled policy is asked: python -m tests.bench.policy. Promises: see the table's last column."""

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aalearn.model.event import Event, Verdict
from aalearn.policy.ask.base import Machine
from aalearn.policy.automaton import Dfa
from aalearn.policy.cache import Cache
from aalearn.policy.census import census_of_paths, census_of_tree
from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import BinaryProfile, decode
from aalearn.policy.oracle import Oracle
from aalearn.policy.sensitive import watched
from aalearn.policy.walks import Grants

TEXT = """#include <tunables/global>
profile bench {
  #include <abstractions/base>
  #include <abstractions/nameservice>
  #include <abstractions/ssl_certs>
  network inet stream,
  capability net_bind_service,
  signal (send, receive) peer=bench,
  /etc/nginx/** r,
  /usr/sbin/nginx mr,
  /var/log/nginx/*.log w,
  /var/cache/nginx/** rwk,
%s}
"""
EVENTS = 100_000


def profile(parser: Parser, rules: int) -> BinaryProfile:
    """Return a compiled profile of about 2,000 states: abstractions and `rules` literal file rules."""
    picked = random.Random(1)
    literal = "".join(
        f"  /srv/{picked.randrange(1 << 32):08x}/{picked.randrange(1 << 16):04x} r,\n" for _ in range(rules)
    )
    return decode(parser.compile(TEXT % literal).blob)[0]


def events() -> list[tuple[Event, bool]]:
    """Return EVENTS different events of several classes."""
    found = []
    for number in range(EVENTS):
        if number % 10 == 0:
            fields = {"family": b"inet", "sock_type": b"stream", "protocol": b"6", "denied_mask": b"connect"}
            found.append((_event("connect", fields), True))
        else:
            name = b"/var/cache/nginx/%x/%08x" % (number % 16, number)
            found.append((_event("open", {"name": name, "denied_mask": b"wr"}), number % 2 == 0))
    return found


def _event(operation: str, fields: dict[str, bytes]) -> Event:
    return Event(Verdict.ALLOWED, operation, b"bench", tuple(sorted(fields.items())))


def best(action: Callable[[], object], times: int = 5) -> float:
    """Return the shortest of some runs, in seconds."""
    runs = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        runs.append(time.perf_counter() - start)
    return min(runs)


def main() -> int:
    """Print the figures."""
    compiled = profile(Parser.find(cache=Cache(None)), 125)
    assert compiled.file is not None and compiled.policy is not None
    raw = compiled.file.raw
    oracle = Oracle(compiled)
    machine = oracle.subject.file
    assert machine is not None
    path = b"/var/cache/nginx/proxy/0/1/8f14e45fceea167a5a36dedd4bea2543"
    print(f"states of the file automaton        {machine.dfa.size:>12,}")
    print(f"decode the file automaton           {best(lambda: Dfa.decode(raw)) * 1e3:>12.2f} ms    (≤ 50)")
    print(f"a query of {len(path)} bytes, cold          {_cold(raw, path) * 1e6:>12.2f} µs")
    print(f"a query of {len(path)} bytes, warm          {_warm(machine, path) * 1e6:>12.2f} µs    (≤ 10)")
    asked = events()
    seconds = best(lambda: [oracle.ask(event, owner) for event, owner in asked], 2)
    print(f"check of {EVENTS:,} events            {seconds:>12.2f} s     (≤ 5)")
    print(
        f"walk: sensitive set                 {best(lambda: Grants(machine).sensitive(watched()), 1) * 1e3:>12.1f} ms"
    )
    print(f"walk: write and execute             {best(lambda: Grants(machine).write_execute(), 1) * 1e3:>12.1f} ms")
    _census(machine, Path(sys.argv[1] if len(sys.argv) > 1 else "/usr"))
    return 0


def _cold(raw: bytes, path: bytes) -> float:
    dfa = Dfa.decode(raw)
    start = time.perf_counter()
    dfa.run(1, path)
    return time.perf_counter() - start


def _warm(machine: Machine, path: bytes) -> float:
    return best(lambda: [machine.dfa.run(machine.start, path) for _ in range(1000)]) / 1000


def _census(machine: Machine, root: Path) -> None:
    paths = [
        os.fsencode(os.path.join(folder, name))
        for folder, folders, files in os.walk(root)
        for name in (*files, *(f"{inner}/" for inner in folders))
    ]
    seconds = best(lambda: census_of_paths(machine, paths, {}), 3)
    print(f"census of {len(paths):,} listed paths    {len(paths) / seconds:>12,.0f} /s    (≥ 200,000)")
    tree = census_of_tree(machine, root, {})
    seconds = best(lambda: census_of_tree(machine, root, {}), 3)
    print(f"census of {tree.paths:,} walked paths    {tree.paths / seconds:>12,.0f} /s    (≥ 200,000)")


if __name__ == "__main__":
    sys.exit(main())
