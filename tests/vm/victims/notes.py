#!/usr/bin/python3
"""A small service: it keeps notes in SQLite, serves and takes files, and counts words with a tool.

/eval is the hole in it: it runs what it is sent, as a program does that an attacker has taken over.
"""

import ctypes
import json
import os
import socket
import sqlite3
import subprocess
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FILES, STATE = Path("/srv/notes"), Path("/var/lib/notes")
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """Call a function of libc. Raises OSError where it returns -1."""
    result = getattr(libc, name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return int(result)


class Notes(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        """Serve /notes (all notes), /files/NAME and /words/NAME."""
        _, what, *names = self.path.split("/")
        if what == "notes":
            with sqlite3.connect(STATE / "notes.db") as db:
                self.reply(200, json.dumps(db.execute("select count(*), max(length(text)) from notes").fetchone()))
        elif what == "files" and names and (FILES / names[0]).is_file():
            self.reply(200, (FILES / names[0]).read_text())
        elif what == "words" and names:
            done = subprocess.run(["/usr/bin/wc", "-w", FILES / names[0]], capture_output=True, text=True, check=True)
            self.reply(200, done.stdout)
        else:
            self.reply(404, "no such thing\n")

    def do_POST(self) -> None:
        """Keep a note or a file, or be taken over."""
        _, what, *names = self.path.split("/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if what == "notes":
            with sqlite3.connect(STATE / "notes.db") as db:
                db.execute("create table if not exists notes (text)")
                db.execute("insert into notes values (?)", [body.decode()])
            self.reply(200, "kept\n")
        elif what == "files" and names:
            with tempfile.NamedTemporaryFile(dir=STATE, delete=False) as file:
                file.write(body)
            os.replace(file.name, STATE / names[0])
            self.reply(200, "kept\n")
        elif what == "eval":
            try:
                exec(body, {"libc": libc, "call": call, "os": os, "socket": socket})
            except OSError as error:
                self.reply(403, f"{error}\n")
            else:
                self.reply(200, "done\n")
        else:
            self.reply(404, "no such thing\n")

    def reply(self, code: int, text: str) -> None:
        """Send an answer."""
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> None:
    """Serve on loopback, and tell systemd when it can be asked."""
    call("prctl", 15, b"notes", 0, 0, 0)
    server = ThreadingHTTPServer(("127.0.0.1", 8090), Notes)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as port:
        port.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    server.serve_forever()


if __name__ == "__main__":
    main()
