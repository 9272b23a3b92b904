"""What an attacker's code can do in a program that it took over: it goes into the program's profile, then tries.

    probe.py PROFILE < CODE

The code sees `libc`, `os`, `socket` and `call` (a function of libc that must not fail). All is imported before the
change, since a profile of another program does not let Python read its modules. The exit code is 0 where the code
worked.
"""

import ctypes
import os
import socket
import sys
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """Call a function of libc. Raises OSError where it returns -1."""
    result = getattr(libc, name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return int(result)


def main() -> None:
    """Change the profile and run the code."""
    code = compile(sys.stdin.read(), "attack", "exec")
    Path("/proc/self/attr/apparmor/current").write_text(f"changeprofile {sys.argv[1]}")
    try:
        exec(code, {"libc": libc, "call": call, "os": os, "socket": socket})
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
