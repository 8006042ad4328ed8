"""A provider outside the product, with a ledger of its own: what was called, how often, what it charged."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Provider:
    """Charges once per Idempotency-Key, however often it is called; can be made to answer late."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.charges: dict[str, int] = {}
        self.now = self.most = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                provider.serve(self)

            def log_message(self, *_: Any) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/charge"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        key = request.headers["Idempotency-Key"]
        with self._lock:
            self.calls[key] += 1
            charge = self.charges.setdefault(key, len(self.charges) + 1)
            self.now += 1
            self.most = max(self.most, self.now)
        self.gate.wait(60)
        with self._lock:
            self.now -= 1
        try:
            body = json.dumps({"charge": charge}).encode()
            request.send_response(200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            return  # the caller was killed meanwhile

    @property
    def repeats(self) -> int:
        """Calls beyond the first of each key."""
        return sum(self.calls.values()) - len(self.calls)

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
