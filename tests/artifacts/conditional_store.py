"""A small S3 server on loopback whose conditional writes hold, as those of AWS do; rclone's ignores conditions."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class ConditionalStore(ThreadingHTTPServer):
    """Objects by bucket/key, in memory. A write is one step; `If-None-Match: *` and `If-Match` are honoured."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.objects: dict[str, bytes] = {}
        self.step = threading.Lock()


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ConditionalStore

    def log_message(self, format: str, *args: object) -> None:
        pass

    @property
    def _key(self) -> str:
        return self.path.partition("?")[0].strip("/")

    def _answer(self, status: int, body: bytes = b"", etag: str | None = None, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT")
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self._answer(status, b"" if self.command == "HEAD" else body)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.step:
            old = self.server.objects.get(self._key)
            wanted = self.headers.get("If-Match")
            if self.headers.get("If-None-Match") == "*" and old is not None:
                return self._refuse(412, "PreconditionFailed")
            if wanted and old is None:
                return self._refuse(404, "NoSuchKey")
            if wanted and old is not None and wanted != _etag(old):
                return self._refuse(412, "PreconditionFailed")
            self.server.objects[self._key] = data
        self._answer(200, etag=_etag(data))

    def do_GET(self) -> None:
        if "list-type" in self.path:
            return self._answer(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
        data = self.server.objects.get(self._key)
        if data is None:
            return self._refuse(404, "NoSuchKey")
        self._answer(200, data, _etag(data))

    def do_HEAD(self) -> None:
        data = self.server.objects.get(self._key)
        if data is None:
            return self._refuse(404, "NoSuchKey")
        self._answer(200, b"", _etag(data), len(data))

    def do_DELETE(self) -> None:
        with self.server.step:
            self.server.objects.pop(self._key, None)
        self._answer(204)


@contextmanager
def conditional_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConditionalStore]:
    """The running server; the environment points to it."""
    store = ConditionalStore()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.server_address[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        store.shutdown()
        thread.join()
        store.server_close()
