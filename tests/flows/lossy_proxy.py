"""A proxy before a Prefect server that loses, or replaces, the first answer to a kind of request, after the server has
done what was asked."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: str, lost: str, instead: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), Forward)
        self.server_root = api.removesuffix("/api")
        self.lost = lost
        """The end of the path whose first answer is lost."""
        self.instead = instead
        """What is answered instead; None: the connection is closed."""
        self.asked = 0
        """How often that path was asked for."""

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"


class Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        assert isinstance(self.server, Proxy)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.server.server_root + self.path, data, headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                status, body = reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        if self.path.endswith(self.server.lost):
            self.server.asked += 1
            if self.server.asked == 1:
                if self.server.instead is None:
                    self.close_connection = True
                    return
                body = self.server.instead
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = forward

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def losing(api: str, lost: str, instead: bytes | None = None) -> Iterator[Proxy]:
    """A proxy of the server at `api`, for the time of the block."""
    with Proxy(api, lost, instead) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
