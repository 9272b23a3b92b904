"""Types aalearn's commands in the guest: one process with aalearn imported, which forks for each command line.

Starting aalearn costs several seconds under emulation, and most of that is Python's imports. The fork runs the very
`main` of the console script, with the arguments, the environment and the exit code that it would have.

A request is one line of JSON in the FIFO `ask` ({"arguments": […], "environment": {…}}), its answer one in `answer`.
"""

import gc
import importlib
import json
import os
import sys
import tempfile
from typing import Any

FOLDER = "/run/typist"
# What the commands of a promotion import when they run: these bring the rest.
PRELOADED = (
    *("cli.main", "cli.settings", "cli.draft", "cli.history", "cli.ingest", "cli.promote", "cli.promotecase"),
    *(
        "cli.promotestep",
        "cli.review",
        "cli.status",
        "cli.suggest",
        "intake",
        "intake.engine",
        "sources.plan",
        "sources.files",
        "store.store",
    ),
    *("learn.containers", "learn.convergence", "learn.synthesis", "lifecycle.decided", "lifecycle.denials"),
    *("lifecycle.draft", "lifecycle.gates", "lifecycle.judge", "lifecycle.keeping", "lifecycle.node.applier"),
    *("lifecycle.promote", "lifecycle.proposal", "lifecycle.shelf", "lifecycle.stages", "policy.cache"),
)


def preload() -> None:
    """Import what commands import when they run."""
    for name in PRELOADED:
        importlib.import_module(f"aalearn.{name}")
    gc.freeze()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command line; return its exit code and what it wrote."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            os.environ.update(request["environment"])
            sys.argv = ["aalearn", *request["arguments"]]
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            from aalearn.cli.main import main

            main()
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        errors.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "stdout": out.read().decode("utf-8", "replace"),
            "stderr": errors.read().decode("utf-8", "replace"),
        }


def serve() -> None:
    """Answer for ever."""
    os.makedirs(FOLDER, exist_ok=True)
    for name in ("answer", "ask"):
        os.mkfifo(f"{FOLDER}/{name}")
    while True:
        with open(f"{FOLDER}/ask") as ask:
            request = json.loads(ask.readline())
        told = json.dumps(answer(request))
        with open(f"{FOLDER}/answer", "w") as port:
            port.write(told)


if __name__ == "__main__":
    preload()
    serve()
