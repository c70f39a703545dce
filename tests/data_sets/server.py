"""A local HTTP server that can break off transfers, ignore ranges or answer with an error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server sends; ``breaks`` lists after how many bytes the next answers stop."""

    files: dict[str, bytes]
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


def _answer(request: BaseHTTPRequestHandler, behaviour: Behaviour) -> None:
    wanted = request.headers.get("Range")
    behaviour.asked.append(wanted)
    body = behaviour.files.get(request.path.lstrip("/"))
    if body is None or behaviour.errors:
        request.send_error(behaviour.errors.pop(0) if behaviour.errors else 404)
        return
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and behaviour.ranges else 0
    if start and start >= len(body):
        request.send_error(416)
        return
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    request.send_header("Content-Length", str(len(body) - start))
    request.end_headers()
    stop = behaviour.breaks.pop(0) if behaviour.breaks else len(body)
    request.wfile.write(body[start : start + stop])


@contextmanager
def serve(behaviour: Behaviour) -> Iterator[Behaviour]:
    """Run a server on 127.0.0.1 and tell its address in ``behaviour.url``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, behaviour)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    behaviour.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield behaviour
    finally:
        server.shutdown()
        server.server_close()
