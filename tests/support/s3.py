"""A bucket that speaks as much of S3 as archives need, on a port of its own.

It stands for somebody else's service: objects in memory, no signatures checked.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    parts: dict[str, dict[int, bytes]]

    def do_PUT(self) -> None:
        path, query = self._target()
        content = self._content()
        if "partNumber" in query:
            number = int(query["partNumber"][0])
            self.parts[query["uploadId"][0]][number] = content
        else:
            self.objects[path] = content
        self._answer(200, headers={"ETag": '"e"'})

    def do_POST(self) -> None:
        path, query = self._target()
        self._content()
        if "uploads" in query:
            upload = f"upload-{len(self.parts)}"
            self.parts[upload] = {}
            body = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
            self._answer(200, f"{body}</InitiateMultipartUploadResult>".encode())
        else:
            parts = self.parts.pop(query["uploadId"][0])
            self.objects[path] = b"".join(content for _, content in sorted(parts.items()))
            self._answer(200, b"<CompleteMultipartUploadResult/>")

    def do_HEAD(self) -> None:
        self._object()

    def do_GET(self) -> None:
        self._object()

    def _object(self) -> None:
        content = self.objects.get(self._target()[0])
        if content is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        wanted = self.headers.get("Range")
        if wanted is None:
            self._answer(200, content)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        stop = min(int(last) if last else len(content) - 1, len(content) - 1)
        span = f"bytes {first}-{stop}/{len(content)}"
        self._answer(206, content[int(first) : stop + 1], headers={"Content-Range": span})

    def _target(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        return unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)

    def _content(self) -> bytes:
        """The body, also in the chunks with checksums that S3 clients wrap it in."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            raw = b"".join(iter(self._chunk, b""))
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return raw
        content = b""
        while raw:
            head, _, raw = raw.partition(b"\r\n")
            size = int(head.split(b";")[0], 16)
            if not size:
                break
            content, raw = content + raw[:size], raw[size + 2 :]
        return content

    def _chunk(self) -> bytes:
        """One chunk of HTTP; nothing at the end."""
        content = self.rfile.read(int(self.rfile.readline().split(b";")[0], 16))
        self.rfile.readline()
        return content

    def _answer(
        self, status: int, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Wed, 15 Jul 2026 04:30:00 GMT")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Tests have their own log."""


@contextmanager
def running_s3() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The endpoint of a service with any bucket one likes, and its objects by `/bucket/key`."""
    objects: dict[str, bytes] = {}
    handler = type("Handler", (_Handler,), {"objects": objects, "parts": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", objects
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
