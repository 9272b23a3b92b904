"""The program's entry, also as `python -m aalearn`. It imports nothing at first, so that Ctrl-C is never a traceback.

To load the commands takes a tenth of a second; who presses Ctrl-C in that time gets one line, as at any other time.
"""

import os
import signal
import sys
from types import FrameType

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once: nothing was begun yet."""
    os.write(2, b"aalearn: note: interrupted; nothing was begun\n")
    os._exit(_INTERRUPTED)


def main() -> None:
    """The console script."""
    listening = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so in the background of a script
    if listening:
        signal.signal(signal.SIGINT, _leave)
    if sys.argv[1:] == ["apply", "--socket"]:
        from aalearn.cli.served import main as begin
    else:
        from aalearn.cli.main import main as begin

    try:
        if listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        begin()
    except KeyboardInterrupt:
        os.write(2, b"aalearn: note: interrupted; what was committed is kept\n")
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
