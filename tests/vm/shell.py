"""`./dev vm [KERNEL] [-c SCRIPT]`: a shell in the virtual machine for a person, or one script's output.

The guest has this checkout's aalearn and its units. What is changed in it is gone when the shell ends.
"""

import argparse
import os
import shutil
import sys
import termios

from tests.vm.bed import Bed
from tests.vm.image import KERNELS


def main() -> int:
    """Boot, and be the person's shell or run the script; the exit code is the script's."""
    parser = argparse.ArgumentParser(prog="./dev vm", description=__doc__)
    parser.add_argument("kernel", nargs="?", default="6.12", choices=sorted(KERNELS), help="default: %(default)s")
    parser.add_argument(
        "-c", dest="script", metavar="SCRIPT", help="run this with bash as root, print what it says, end"
    )
    parser.add_argument(
        "--memory", type=int, default=768, metavar="MIB", help="the guest's memory (default: %(default)s)"
    )
    given = parser.parse_args()
    for name in ("qemu-system-x86_64", "mmdebstrap"):
        if shutil.which(name) is None:
            sys.stderr.write(f"dev: {name} is missing: ./dev test installs it\n")
            return 3
    if os.geteuid() != 0:
        sys.stderr.write("dev: building the machine's disk needs root: sudo ./dev vm\n")
        return 3
    if given.script is not None:
        with Bed(given.kernel, given.memory, aalearn=True) as bed:
            result = bed.run(given.script, seconds=3600)
            sys.stdout.write(result.output)
            return result.code
    if not sys.stdin.isatty():
        sys.stderr.write("dev: a shell needs a terminal; for one script: ./dev vm -c 'aalearn version'\n")
        return 2
    return interactive(given.kernel, given.memory)


def interactive(kernel: str, memory: int) -> int:
    """Give the terminal to the guest's serial line until its shell ends; the terminal is then as it was."""
    before = termios.tcgetattr(sys.stdin)
    sys.stderr.write("dev: booting (half a minute); `exit` ends the shell and the machine\n")
    try:
        with Bed(kernel, memory, aalearn=True, console=True) as bed:
            bed.wait()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
