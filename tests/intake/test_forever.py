"""Intake for sources that never end: what is remembered is bounded, hooks are called, containers are asked for."""

from dataclasses import dataclass, replace
from pathlib import Path

from aalearn.intake import Intake, Limits, Options
from aalearn.sources import Chunk
from aalearn.sources.cut import by_node
from aalearn.store import Store
from aalearn.store.batch import Batch
from tests.intake.conftest import record, state


@dataclass(frozen=True)
class Place:
    """Where a process runs."""

    container: bytes
    pod: bytes


def test_many_nodes_in_little_memory(tmp_path: Path) -> None:
    """Nodes that leave memory are counted on as if they had stayed, duplicates too."""
    lines = [b"node=web-%d " % (number % 7) + record(1000 + number // 7) for number in range(28)]
    found = []
    for name, nodes in (("few", 2), ("all", 1000)):
        with Store.open(f"sqlite:///{tmp_path / name}.db") as store:
            for _ in range(2):
                intake = Intake(store, Options("here"), limits=Limits(3, 1 << 20, 5, cache=4, marks=3, nodes=nodes))
                for node, data in (part for line in lines for part in by_node(line, "here")):
                    intake.take(Chunk(data, "a.log", True, node, "0"))
                intake.commit()
            found.append(state(store))
    assert found[0]["counters"] == found[1]["counters"] == {"events": 28, "kind file": 28, "verdict ALLOWED": 28}
    assert found[0]["profiles"][0].nodes == found[1]["profiles"][0].nodes


def test_hooks(tmp_path: Path) -> None:
    """After a commit its batch is shown; where a process of this node runs is asked once a run, of others never."""
    places = {7: Place(b"c" * 64, b"uid")}
    asked: list[int] = []
    shown: list[Batch] = []

    def origins(pid: int) -> Place | None:
        asked.append(pid)
        return places.get(pid)

    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        intake = Intake(store, Options("web-1"), on_commit=lambda batch: shown.append(replace(batch)), origins=origins)
        assert bool(intake.empty)
        lines = record(1) + record(2) + record(3, pid=8)
        intake.count(Chunk(lines, "live", True, "web-1", "9"))
        intake.count(Chunk(record(1), "live", True, "web-2", "9"))
        intake.reached("live", "9")
        assert not intake.empty
        intake.commit()
        assert bool(intake.empty)
        assert intake.totals["event file ALLOWED"] == 4
        assert store.positions() == {"live": "9"}
    assert asked == [7, 8]
    assert {(row.container, row.pod) for row in shown[0].runs.values()} == {(b"c" * 64, b"uid"), (b"", b"")}


def test_names_of_operations_are_bounded(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        intake = Intake(store, Options("web-1"))
        for number in range(1200):
            intake.count(Chunk(record(number + 1, operation=f"odd_{number}"), "live", False, "web-1", "0"))
        intake.commit()
        names = [name for name in intake.totals if name.startswith("unknown ")]
        assert len(names) == 1001
        assert sum(intake.totals[name] for name in names) == 1200
