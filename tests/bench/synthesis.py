"""How good the profiles are: `python -m tests.bench.synthesis [--runs DIR] [--root DIR]… [--workload NAME]…`.

Each workload's runs (DIR/WORKLOAD/NN.log, or .log.gz) are split: learn from the first 4, then from the first 8, and
test on the rest. Printed are the held-out events that the learned rules would deny (%), the files of the population
that may be read and written although no run ever did, and the rules. The population is every path in the runs and
every file below the given roots (symbolic links apart: the kernel resolves them). The other columns are ways that
others use:

- exact: each path as it is;
- dir/*: each folder's files as one pattern;
- filters: as recorders in Kubernetes do it, an approximation: pids, ids of containers, long hex names become patterns;
- reduced: a gradm-like reduction: a folder with more than four children becomes its whole subtree.
"""

import argparse
import gzip
import os
import re
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from aalearn.learn.options import Options
from aalearn.learn.population import Population
from aalearn.learn.sensitive import never
from aalearn.learn.synthesis import synthesize
from aalearn.model.event import Access, Event
from aalearn.model.pattern import Chars, Deep, Literal, Pattern, Star, Token, Var
from aalearn.model.profile import State
from aalearn.model.target import Target
from aalearn.rules import rules_of
from aalearn.rules.file import FileRule
from tests.learn.accesses import Tally

DEFAULT_RUNS = Path(__file__).resolve().parents[1] / "data" / "runs"
DEFAULT_ROOTS = ("/bin", "/etc", "/lib", "/opt", "/sbin", "/srv", "/usr", "/var")
SPLITS = (4, 8)
WRITE = frozenset("wa")


@dataclass(frozen=True, slots=True)
class Score:
    """What one way gives for one split."""

    denied: float  # % of held-out events
    reads: int  # files that may be read and never were
    writes: int
    rules: int
    sensitive: int  # files of the never-across list that may be reached and never were
    seconds: float


@dataclass(frozen=True, slots=True)
class Workload:
    """The runs of one workload, each with its accesses, and which paths were ever read and written."""

    name: str
    runs: tuple[tuple[Access, ...], ...]
    logs: tuple[tuple[bytes, ...], ...]
    read: frozenset[bytes]
    written: frozenset[bytes]


Rules = Sequence[FileRule]
Way = Callable[[bytes, Sequence[Access], Population], Rules]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.synthesis")
    parser.add_argument("--runs", type=Path, default=Path(os.environ.get("AALEARN_RUNS", DEFAULT_RUNS)))
    parser.add_argument("--root", action="append", help="a folder of the population (default: the system's)")
    parser.add_argument("--workload", action="append", help="only these")
    chosen = parser.parse_args(arguments)
    if not chosen.runs.is_dir():
        parser.error(f"no such folder of runs: {chosen.runs}")
    files = sorted(found for root in chosen.root or DEFAULT_ROOTS for found in walk(root))
    print(f"population: {len(files):,} files of the machine, and the paths of the runs")
    names = chosen.workload or sorted(entry.name for entry in chosen.runs.iterdir() if entry.is_dir())
    workloads = [load(chosen.runs / name) for name in names]
    ours: dict[int, list[Score]] = defaultdict(list)
    for split in SPLITS:
        print(f"\nlearned from {split} runs: denied % / over-granted reads / writes / rules")
        print(f"{'':10}" + "".join(f"{name:>24}" for name in WAYS))
        for workload in workloads:
            scores = compare(workload, split, files)
            ours[split].append(scores["ours"])
            print(f"{workload.name:10}" + "".join(f"{cell(score):>24}" for score in scores.values()), flush=True)
    return verdict(ours)


def verdict(ours: Mapping[int, Sequence[Score]]) -> int:
    """Print whether the goals are met: ≤ 2 % denied on 4 runs, ≤ 0.5 % on 8, nothing sensitive opened unseen."""
    missed = 0
    print()
    for split, limit in zip(SPLITS, (2.0, 0.5), strict=True):
        average = sum(score.denied for score in ours[split]) / max(1, len(ours[split]))
        missed += average > limit
        print(f"ours on {split} runs: {average:.2f} % denied on average (goal: {limit} %)")
    opened = sum(score.sensitive for scores in ours.values() for score in scores)
    seconds = max(score.seconds for scores in ours.values() for score in scores)
    print(f"sensitive files opened unseen: {opened} (goal: 0); longest synthesis: {seconds:.2f} s")
    return int(bool(missed or opened))


def cell(score: Score) -> str:
    """Return a score as a cell of the table."""
    return f"{score.denied:.1f}/{score.reads}/{score.writes}/{score.rules}"


def walk(root: str) -> Iterator[bytes]:
    """Yield the files below a folder, symbolic links apart; what can't be read is left out."""
    stack = [os.fsencode(root)]
    while stack:
        folder = stack.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                stack.append(entry.path)
            elif not entry.is_symlink():
                yield entry.path


def load(folder: Path) -> Workload:
    """Read the runs of one workload in the order of their names."""
    logs = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".log", ".gz"):
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            logs.append(tuple(data.splitlines()))
    runs = tuple(tuple(accesses([log])) for log in logs)
    read: set[bytes] = set()
    written: set[bytes] = set()
    for run in runs:
        for access in run:
            for rule in file_rules(access.event):
                (written if rule.perms & WRITE else read).add(rule.pattern.literal_bytes)
                if rule.perms - WRITE or rule.exec:
                    read.add(rule.pattern.literal_bytes)
    return Workload(folder.name, runs, tuple(logs), frozenset(read), frozenset(written))


def accesses(logs: Sequence[Sequence[bytes]]) -> list[Access]:
    """Return the accesses of several runs together."""
    tally = Tally()
    for number, log in enumerate(logs, start=1):
        tally.read(log, number)
    return tally.accesses()


def file_rules(event: Event) -> list[FileRule]:
    """Return the file rules that an event asks for."""
    return [rule for rule in rules_of(event, None, Target()).rules if isinstance(rule, FileRule)]


def compare(workload: Workload, split: int, machine: Sequence[bytes]) -> dict[str, Score]:
    """Return the score of every way for one split."""
    seen = {path for path in workload.read | workload.written if not path.endswith(b"/")}
    files = sorted({*machine, *seen})
    population = Population(files)
    train = accesses(workload.logs[:split])
    scores = {}
    for name, way in WAYS.items():
        start = perf_counter()
        rules = way(workload.runs[0][0].event.profile, train, population)
        scores[name] = judge(rules, workload, split, files, perf_counter() - start)
    return scores


def judge(rules: Rules, workload: Workload, split: int, files: Sequence[bytes], seconds: float) -> Score:
    """Score a set of rules on the held-out runs and the population."""
    allowed = Allowed(rules)
    total = denied = 0
    for run in workload.runs[split:]:
        for access in run:
            total += access.count
            asked = file_rules(access.event)
            denied += 0 if all(allowed(rule, access.owner is True) for rule in asked) else access.count
    reads = allowed.opened(files, frozenset("rm")) - workload.read
    writes = allowed.opened(files, WRITE) - workload.written
    sensitive = {path for path in reads if never(path)} | {path for path in writes if never(path, write=True)}
    return Score(100 * denied / max(1, total), len(reads), len(writes), len(rules), len(sensitive), seconds)


class Allowed:
    """Asks whether rules allow an access; what a literal rule decides costs no search."""

    def __init__(self, rules: Rules) -> None:
        self.literal: dict[bytes, list[FileRule]] = defaultdict(list)
        self.globs: list[FileRule] = []
        for rule in rules:
            if rule.pattern.is_literal:
                self.literal[rule.pattern.literal_bytes].append(rule)
            else:
                self.globs.append(rule)

    def __call__(self, asked: FileRule, owner: bool) -> bool:
        """Return whether each permission is granted by some rule."""
        path = asked.pattern.literal_bytes
        held: set[str] = set()
        for rule in (*self.literal.get(path, ()), *(rule for rule in self.globs if rule.pattern.matches(path))):
            if owner or not rule.owner:
                held |= rule.perms | ({"a"} if "w" in rule.perms else set()) | ({"x"} if rule.exec else set())
        return asked.perms | ({"x"} if asked.exec else set()) <= held

    def opened(self, files: Sequence[bytes], letters: frozenset[str]) -> set[bytes]:
        """Return which of the sorted `files` a rule with one of `letters` matches."""
        found: set[bytes] = set()
        for rule in (*self.globs, *(rule for rules in self.literal.values() for rule in rules)):
            if not rule.perms & letters:
                continue
            prefix = rule.pattern.literal_bytes
            for at in range(bisect_left(files, prefix), len(files)):
                if not files[at].startswith(prefix):
                    break
                if files[at] not in found and rule.pattern.matches(files[at]):
                    found.add(files[at])
        return found


# ── the ways ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def ours(name: bytes, train: Sequence[Access], population: Population) -> Rules:
    """Return the active file rules of our synthesis."""
    made = synthesize(name, train, Options(population=population))
    standing = [rule.rule for rule in made.judged if rule.state in (State.ACTIVE, State.REVIEW)]
    return [rule for rule in standing if isinstance(rule, FileRule)]


def exact(_: bytes, train: Sequence[Access], __: Population) -> Rules:
    """Return a rule for each path."""
    return merged(rule for access in train for rule in file_rules(access.event))


def folders(_: bytes, train: Sequence[Access], __: Population) -> Rules:
    """Return `dir/*` for each folder; programs that are run stay as they are."""
    return merged(
        rule if rule.exec else FileRule(_star(rule.pattern.literal_bytes), rule.perms)
        for access in train
        for rule in file_rules(access.event)
    )


def _star(path: bytes) -> Pattern:
    if path.endswith(b"/"):
        return Pattern.literal(path)
    return Pattern.of(Literal(path.rpartition(b"/")[0] + b"/"), Star())


_FILTERS = re.compile(rb"^/proc/[0-9]+(?=/)|(?<=/task/)[0-9]+(?=/)|(?<=[/_.-])[0-9a-f]{32,64}(?=[/_.-]|$)")


def filters(_: bytes, train: Sequence[Access], __: Population) -> Rules:
    """Return each path with its pids and long hex ids typed."""
    return merged(
        rule if rule.exec else FileRule(_filtered(rule.pattern.literal_bytes), rule.perms)
        for access in train
        for rule in file_rules(access.event)
    )


def _filtered(path: bytes) -> Pattern:
    tokens: list[Token] = []
    at = 0
    for found in _FILTERS.finditer(path):
        tokens.append(Literal(path[at : found.start()]))
        if found[0].startswith(b"/proc/"):
            tokens += [Var("PROC"), Literal(b"/"), Var("pid")]
        else:
            tokens.append(Chars("0-9a-f", len(found[0])) if len(found[0]) >= 32 else Var("tid"))
        at = found.end()
    return Pattern.of(*tokens, Literal(path[at:]))


def reduced(_: bytes, train: Sequence[Access], __: Population) -> Rules:
    """Return whole subtrees for folders with more than four children, from the bottom up."""
    rules = [rule for access in train for rule in file_rules(access.event)]
    paths = {rule.pattern.literal_bytes for rule in rules if not rule.exec}
    while True:
        children: dict[bytes, set[bytes]] = defaultdict(set)
        for path in paths:
            parent = path.rstrip(b"/*").rpartition(b"/")[0]
            children[parent].add(path)
        wide = [parent for parent, inside in children.items() if parent and len(inside) > 4]
        if not wide:
            break
        deepest = max(wide, key=lambda parent: (parent.count(b"/"), parent))
        paths = {path for path in paths if not path.startswith(deepest + b"/")} | {deepest + b"/**"}
    tops = sorted(path.removesuffix(b"**") for path in paths if path.endswith(b"/**"))
    return merged(rule if rule.exec else FileRule(_under(rule.pattern, tops), rule.perms) for rule in rules)


def _under(pattern: Pattern, tops: Sequence[bytes]) -> Pattern:
    path = pattern.literal_bytes
    for top in tops:
        if path.startswith(top) and path != top:
            return Pattern.of(Literal(top), Deep())
    return pattern


def merged(rules: Iterable[FileRule]) -> Rules:
    """Return one rule a pattern, with all its permissions."""
    found: dict[Pattern, FileRule] = {}
    for rule in rules:
        known = found.get(rule.pattern)
        joined = rule if known is None else known.merge(rule)
        assert isinstance(joined, FileRule)
        found[rule.pattern] = joined
    return [found[pattern] for pattern in sorted(found)]


WAYS: dict[str, Way] = {"exact": exact, "dir/*": folders, "filters": filters, "reduced": reduced, "ours": ours}


if __name__ == "__main__":
    sys.exit(main())
