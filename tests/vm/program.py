"""The guest's second disk: this checkout's aalearn as an administrator has it, a virtual environment in /opt/aalearn.

The dependencies are the wheels of requirements.lock for the guest's Python (systemd-python is Debian's own package
there); aalearn is the wheel built from the checkout. Both are compiled to byte code by the guest's Python, since the
guest itself is slow. Cached by content: the dependencies by the lock, the disk by the checkout's files.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.conftest import ROOT
from tests.vm.image import PROGRAM, base_root, cache, lock, run, use

PYTHON = "3.13"
LABEL = "aalearn"
SITE = f"lib/python{PYTHON}/site-packages"
PACKAGED = ("pyproject.toml", "README.md", "LICENSE", "aalearn", "grammars", "templates", "systemd")
QUIET = ("-q", "--disable-pip-version-check", "--no-input")
KEPT = 4  # disks of older checkouts that stay in the cache
SCRIPT = f"""#!/{PROGRAM}/bin/python3
import sys
from aalearn.__main__ import main
sys.exit(main())
"""


def program() -> Path:
    """Return the disk (ext4, read only, labelled LABEL), building what is missing."""
    base = cache() / "vm"
    base.mkdir(parents=True, exist_ok=True)
    disk = base / f"program-{digest(*packaged_files())}"
    with lock(base / "program.lock"):
        if not disk.exists():
            with tempfile.TemporaryDirectory(prefix="aalearn-program.", dir=base) as work:
                build(Path(work)).rename(disk)
            older = sorted(base.glob("program-*"), key=lambda path: path.stat().st_mtime)[:-KEPT]
            for path in older:
                path.unlink()
    return disk


def packaged_files() -> list[Path]:
    """The checkout's files that the disk depends on."""
    files = [Path(__file__), ROOT / "requirements.lock"]
    for name in PACKAGED:
        path = ROOT / name
        files += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    return sorted(files)


def digest(*files: Path) -> str:
    """Return a short digest of names and contents."""
    known = hashlib.sha256()
    for path in files:
        known.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return known.hexdigest()[:16]


def build(work: Path) -> Path:
    """Make the disk in `work`."""
    tree = work / "tree"
    (tree / "bin").mkdir(parents=True)
    site = tree / SITE
    site.parent.mkdir(parents=True)
    run("cp", "-a", dependencies(), site)
    run(sys.executable, "-m", "pip", "wheel", *QUIET, "--no-deps", "--no-build-isolation", "-w", work, ROOT)
    (wheel,) = work.glob("aalearn-*.whl")
    run(sys.executable, "-m", "pip", "install", *QUIET, "--no-deps", "--no-compile", "--target", work / "own", wheel)
    compile_for_guest(work / "own", f"/{PROGRAM}/{SITE}")
    for path in (work / "own").iterdir():
        if path.name != "bin":
            path.rename(site / path.name)
    (tree / "bin/python3").symlink_to("/usr/bin/python3")
    (tree / "bin/aalearn").write_text(SCRIPT)
    (tree / "bin/aalearn").chmod(0o755)
    (tree / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    size = int(subprocess.run(["du", "-sm", tree], capture_output=True, text=True, check=True).stdout.split()[0])
    options = ("-q", "-t", "ext4", "-O", "^has_journal", "-L", LABEL, "-E", "root_owner=0:0")
    run("chown", "-R", "0:0", tree)
    run("mke2fs", *options, "-d", tree, work / "disk", f"{size * 5 // 4 + 16}M")
    return work / "disk"


def dependencies() -> Path:
    """Return the folder of aalearn's dependencies for the guest's Python, compiled."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    pins = re.sub(r" \\\n(?: +--hash=\S+(?: \\)?\n)+", "\n", (ROOT / "requirements.lock").read_text("utf-8"))
    known = hashlib.sha256("\0".join([PYTHON, pins, *wanted, Path(__file__).read_text()]).encode())
    folder = cache() / "vm" / f"python-{known.hexdigest()[:16]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix="aalearn-python.", dir=folder.parent) as work:
            made, constraints = Path(work) / "site", Path(work) / "constraints"
            constraints.write_text(pins)
            fit = ("--python-version", PYTHON, "--only-binary=:all:", "--no-compile", "-c", constraints)
            run(sys.executable, "-m", "pip", "install", *QUIET, "--target", made, *fit, *wanted)
            shutil.rmtree(made / "bin", ignore_errors=True)
            compile_for_guest(made, f"/{PROGRAM}/{SITE}")
            made.rename(folder)
    return folder


def compile_for_guest(folder: Path, place: str) -> None:
    """Compile `folder`, which will be `place` in the guest, with the guest's own Python."""
    root = base_root()
    with use(root), tempfile.TemporaryDirectory(prefix="compile.", dir=root / "tmp") as inside:
        copy = Path(inside) / "site"
        folder.rename(copy)
        try:
            seen = f"/{copy.relative_to(root)}"
            flags = ("-q", "-j2", "--invalidation-mode", "unchecked-hash", "-s", seen, "-p", place)
            run("chroot", root, "python3", "-m", "compileall", *flags, seen)
        finally:
            copy.rename(folder)


if __name__ == "__main__":
    sys.stdout.write(f"{program()}\n")
