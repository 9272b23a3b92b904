"""Compile rules for tests with the real apparmor_parser, and ask the compiled policy."""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from aalearn.model.event import Event
from aalearn.model.event import Verdict as Word
from aalearn.policy.decoder import decode
from aalearn.policy.oracle import Answer, Oracle
from tests.conftest import ROOT

FEATURES = ROOT / "tests" / "data" / "features"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled profile that answers."""

    oracle: Oracle

    def reads(self, path: bytes) -> bool:
        """Whether an open for reading is allowed to others than the owner."""
        return self.ask(Event(Word.ALLOWED, "open", b"t", (("denied_mask", b"r"), ("name", path))), False).allowed

    def ask(self, event: Event, owner: bool | None) -> Answer:
        return self.oracle.ask(event, owner)


@dataclass(frozen=True, slots=True)
class Compiler:
    """An apparmor_parser with the base folder and the features to compile for; `abi` "" writes no abi line."""

    command: tuple[str, ...]
    base: str
    features: str
    abi: str

    def blob(self, rules: Iterable[str], preamble: str = "") -> bytes:
        """Return the compiled profile `t` of these rules; fails the test with the parser's words when it refuses."""
        head = f"abi <abi/{self.abi}>,\n" if self.abi else ""
        text = head + preamble + "\nprofile t {\n" + "\n".join(rules) + "\n}\n"
        options = ["--config-file", os.devnull, "-Q", "-K", "-S", "-M", self.features, "-I", self.base]
        result = subprocess.run(
            [*self.command, *options, "--base", self.base], input=text.encode(), capture_output=True, timeout=300
        )
        assert result.returncode == 0, result.stderr.decode("utf-8", "replace")[:2000] + text[:2000]
        return result.stdout

    def files(self, rules: Iterable[str], preamble: str = "") -> Compiled:
        """Return the compiled profile, ready to be asked."""
        profiles = decode(self.blob(rules, preamble))
        assert [profile.name for profile in profiles] == [b"t"]
        return Compiled(Oracle(profiles[0]))
