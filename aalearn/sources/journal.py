"""Real journal files, read by `journalctl`: the only program that knows every version of their format."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from aalearn.model.errors import BadInput, UsageError
from aalearn.model.text import shown
from aalearn.sources.base import CHUNK, Chunk, Origin
from aalearn.sources.cut import chunks_of
from aalearn.sources.entries import WANTED, export_lines


class JournalFiles:
    """One or more `.journal` files, read together in the order of time."""

    def __init__(self, name: str, files: Sequence[Path], origin: Origin, kept: IO[bytes] | None = None) -> None:
        """Name the files; `kept` is a temporary file to be closed (and so removed) with this source."""
        self.name = name
        self.size: int | None = None  # how long the export will be can't be known
        self._files = tuple(files)
        self._origin = origin
        self._kept = kept

    def _command(self) -> list[str]:
        program = shutil.which("journalctl")
        if program is None:
            raise UsageError(f"{shown(self.name)}: journalctl is needed to read journal files: install systemd")
        fields = ",".join(name.decode() for name in WANTED if not name.startswith(b"__"))
        files = [f"--file={path}" for path in self._files]
        return [program, *files, "--output=export", f"--output-fields={fields}", "--no-pager", "--quiet", "--all"]

    def check(self) -> bool:
        """Let journalctl read one entry, so that what can't be read is known beforehand."""
        done = subprocess.run(
            [*self._command(), "--lines=1"], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        self._judge(done.returncode, done.stderr)
        return True

    def _judge(self, code: int, said: bytes) -> None:
        if code or said.strip():
            why = shown(said.strip().split(b"\n")[0]) or f"journalctl ended with exit code {code}"
            raise BadInput(f"{shown(self.name)}: {why}")

    def chunks(self) -> Iterator[Chunk]:
        """Yield the entries that matter, as lines."""
        consumed = 0
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                self._command(), stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL, bufsize=CHUNK
            )
            with process:
                try:
                    for cut in export_lines(_pieces(process.stdout)):
                        consumed += cut.read
                        yield from chunks_of(cut, self.name, self._origin, consumed, consumed)
                    process.wait()
                finally:
                    process.kill()
            said.seek(0)
            self._judge(process.returncode, said.read())

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        if self._kept is not None:
            self._kept.close()


def _pieces(stream: IO[bytes] | None) -> Iterator[bytes]:
    while stream is not None and (piece := stream.read(CHUNK)):
        yield piece
