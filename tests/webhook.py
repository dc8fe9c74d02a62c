"""A webhook on this machine that keeps what it is sent, and answers as a test wants it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Answers with the given codes in turn, the last one for ever; a redirect leads to `location`."""

    daemon_threads = True

    def __init__(self, *codes, location=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.codes = list(codes)
        self.location = location
        self.received = []
        self.released = threading.Event()

    def at(self, path="/hook", userinfo=""):
        return f"http://{userinfo}127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers, content))
        code = self.server.codes.pop(0) if len(self.server.codes) > 1 else self.server.codes[0]
        if code == "silence":
            self.server.released.wait(60)
            return
        if code == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.released.wait(0.05):
                self.wfile.write(b"X: y\r\n")
            return
        self.send_response(code)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def do_GET(self):
        self.server.received.append((self.path, self.headers, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def webhook(*codes, location=None):
    """Serve for the block; "silence" is no answer, and "drip" one that never ends."""
    server = Server(*codes, location=location)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
