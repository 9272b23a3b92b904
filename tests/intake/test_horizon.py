"""Records that the ledger may have forgotten are never counted again."""

from pathlib import Path

from aalearn.intake import Options, ingest
from aalearn.store import Store
from tests.intake.conftest import record

DAY = 86_400_000
START = 1_700_000_000_000


def test_a_log_older_than_the_ledger_counts_nothing(tmp_path: Path) -> None:
    old = [record(n, f"/x{n}", time=START + n) for n in range(1, 200)]
    new = [record(n, f"/x{n}", time=START + 400 * DAY) for n in range(10**6, 10**6 + 100)]
    log, later = tmp_path / "audit.log", tmp_path / "later.log"
    log.write_bytes(b"".join(old))
    later.write_bytes(b"".join(new))
    with Store.open(f"sqlite:///{tmp_path / 'x.db'}") as store:
        for path in (log, later):
            ingest([path], store, Options("web-1"))
        assert store.profiles()[0].events == 299
        assert store.retain(1, START + 500 * DAY, seconds=60).blocks == 1
        log.write_bytes(b"".join(old) + record(300, "/never-seen", time=START + 5))
        for path in (log, later):
            done = ingest([path], store, Options("web-1"))
            assert done.events == 0
            assert done.duplicates == (200 if path == log else 100)
        assert store.counters()["too old"] == 200
        assert store.profiles()[0].events == 299
    with Store.open(f"sqlite:///{tmp_path / 'x.db'}") as store:
        log.write_bytes(record(5, "/x5", time=START + 600 * DAY) + record(6, time=0))
        assert ingest([log], store, Options("web-1")).events == 2  # a new boot; and a record without a time
