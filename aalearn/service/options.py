"""What the service is told. A frozen value: to re-read the configuration is to make a new one."""

from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """The service's settings.

    `db` is the store's URL (it can't change while the service runs) and `node` the name of this machine. `sources` are
    the wanted ones, or "auto". A batch is committed every `commit_seconds` at the latest; what was read and is not
    counted yet is held up to `queue_bytes`. Metrics go to the file `textfile` (None: to none) every `metrics_seconds`
    and to an HTTP port at `listen` ("": none), which must be this machine's own (loopback) unless `anywhere`. Rules and
    coverage are worked out every `profiles_seconds` (0: never) for at most `profiles_most` profiles; `gate` holds what
    makes one ready (the fields of `learn.convergence.Gate`). `once`: read what is there, commit and end. `fixed` are
    other settings, by name, that take a restart to change.
    """

    db: str
    node: str
    sources: tuple[str, ...] = ("auto",)
    commit_seconds: float = 1.0
    queue_bytes: int = 4 * MIB
    textfile: Path | None = None
    metrics_seconds: float = 15.0
    listen: str = ""
    anywhere: bool = False
    once: bool = False
    profiles_seconds: float = 300.0
    profiles_most: int = 100
    gate: tuple[tuple[str, float], ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()
