"""The sections of the configuration: one frozen model each, every setting with what it means beside it.

`docs/configuration.md` and `aalearn config show` are made from these definitions.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from aalearn.learn.gate import Gate

_READY: Final = Gate()


class Section(BaseModel):
    """What all sections share: unknown keys are refused, nothing changes after loading, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _listed(value: Any) -> Any:
    """Split the text of an environment variable: a JSON list, or words between commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return [word.strip() for word in value.split(",") if word.strip()]


Words = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1)], ...], BeforeValidator(_listed), Field(min_length=1)
]
Share = Annotated[float, Field(ge=0, le=1)]


class Run(Section):
    """The service, `aalearn run`."""

    sources: Words = Field(
        default=("auto",),
        description="Where records come from: auto (found out at start), journal, journal:FOLDER, netlink, kmsg, or "
        "the path of an audit.log. In the environment: words between commas, or a JSON list.",
    )
    commit_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="What was counted is written at least this often, in seconds. A crash reads so much again.",
    )
    queue_mib: int = Field(
        default=4,
        ge=1,
        le=4096,
        description="So many MiB of records may wait between the sources and the store; then the sources wait, and "
        "what they can't hold is counted as loss.",
    )


class Metrics(Section):
    """Figures for Prometheus."""

    textfile: Path | None = Field(
        default=None,
        description="The file for the node exporter's textfile collector. Default: metrics/aalearn.prom in the state "
        "folder of the store; an empty text writes none.",
    )
    seconds: float = Field(default=15.0, ge=1, le=3600, description="How often that file is written, in seconds.")
    listen: str = Field(
        default="",
        description="HOST:PORT to answer scrapes by HTTP, e.g. 127.0.0.1:9746. Default: no port. There is no password: "
        "keep it on loopback.",
    )
    anywhere: bool = Field(
        default=False,
        description="Let metrics.listen be an address that other machines reach. Whoever reaches it reads the names of "
        "profiles.",
    )


class Retention(Section):
    """How the store stays small. What goes first: raw samples, old runs; rules and counts never."""

    store_mib: int = Field(
        default=1024,
        ge=16,
        description="The store's size is kept under so many MiB, as far as that can be without forgetting accesses.",
    )
    seconds: float = Field(default=300.0, ge=1, description="How often `aalearn run` looks at the size, in seconds.")
    detail_days: int = Field(
        default=90,
        ge=1,
        description="Losses older than so many days are summed up by node, kind and day (the windows they are in stay "
        "incomplete); of the loads of policy before that, the last one of each profile stays.",
    )
    ledger_days: int = Field(
        default=180,
        ge=1,
        description="Where the store is too big, it may forget which events older than so many days it has counted. "
        "Records that old are then never counted, for they might count twice.",
    )


class Promotion(Section):
    """The gates of `aalearn promote`, and when an enforced profile is taken back."""

    coverage: Share = Field(
        default=_READY.coverage,
        description="The estimated share of a run's accesses that the profile must know, 0 to 1.",
    )
    new_rules_a_run: float = Field(
        default=_READY.new_rules_a_run,
        ge=0,
        description="At most so many new rules may still be expected from one more run.",
    )
    runs: int = Field(default=_READY.runs, ge=1, description="At least so many runs must have been seen.")
    quiet_days: float = Field(default=_READY.quiet_days, ge=0, description="No new access for so many days.")
    nodes: int = Field(
        default=_READY.nodes, ge=1, description="The profile must have been learned on at least so many nodes."
    )
    revert_denials: int = Field(
        default=10, ge=1, description="So many denials within revert_seconds take an enforced profile back."
    )
    revert_seconds: float = Field(default=60.0, gt=0, description="The time that revert_denials is about, in seconds.")
    revert_unit_seconds: float = Field(
        default=60.0,
        ge=0,
        description="A systemd unit that fails within so many seconds after a denial takes its profile back.",
    )
    probation_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="Only for so many seconds after a promotion is a profile taken back by itself; later a person "
        "decides.",
    )
    revert_to: Literal["previous", "complain"] = Field(
        default="previous",
        description="What it goes back to: the revision that was enforced before (complain mode if there is none), or "
        "complain mode.",
    )
    apply_socket: Path = Field(
        default=Path("/run/aalearn/apply.sock"),
        description="The socket of aalearn-apply, through which the service asks for a profile to be taken back.",
    )
