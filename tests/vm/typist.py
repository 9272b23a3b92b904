"""Types aalearn's commands in the guest without starting Python for each: see victims/typist.py."""

import json
import shlex

from tests.vm.bed import Bed, Result
from tests.vm.image import HERE

VICTIMS = HERE / "victims"
_FOLDER = "/run/typist"
_START = """\
systemd-run -q --unit=typist --setenv=LANG=C.UTF-8 --setenv=HOME=/root -p WorkingDirectory=/root \
  /opt/aalearn/bin/python3 -P /root/typist.py
"""
_WAIT = f"for i in $(seq 300); do [ -p {_FOLDER}/ask ] && exit; systemctl -q is-active typist || break; sleep 1; done"


class Typist:
    """One process of the guest that has aalearn imported and forks for each command line. `environment` is theirs."""

    def __init__(self, bed: Bed, environment: dict[str, str]) -> None:
        self._bed = bed
        self._environment = environment
        self._ready = False
        bed.put("/root/typist.py", (VICTIMS / "typist.py").read_bytes())
        bed.check(_START)

    def type(self, *arguments: str) -> Result:
        """Run `aalearn ARGUMENTS…` as root; standard output comes before the errors."""
        if not self._ready:
            self._bed.check(f"{_WAIT}; journalctl --no-pager -u typist; exit 1", 400)
            self._ready = True
        line = json.dumps({"arguments": arguments, "environment": self._environment})
        script = f"printf '%s\\n' {shlex.quote(line)} > {_FOLDER}/ask; cat {_FOLDER}/answer"
        told = json.loads(self._bed.check(script, 300))
        return Result(told["code"], told["stdout"] + told["stderr"])
