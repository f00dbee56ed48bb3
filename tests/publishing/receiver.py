"""A receiver of changes, as another system would write one: it checks the signature and keeps the highest n of each SKU."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "between-us-two"


class Receiver:
    """Takes what is posted; ``answers`` are statuses, or "late" and "cut", for the next calls. Then all is taken."""

    def __init__(self) -> None:
        self.calls: list[tuple[int | str, dict, dict]] = []
        self.answers: list[int | str] = []
        self.stock: dict[str, tuple[int, int]] = {}
        self.changes: dict[str, list[int]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                if answer == 200:
                    receiver.take(self.headers, body)
                receiver.calls.append((answer, dict(self.headers), json.loads(body)))
                if answer == "late":
                    time.sleep(3)
                if answer == "taken, but no answer":
                    receiver.take(self.headers, body)
                if isinstance(answer, str):
                    self.close_connection = True
                    return
                self.send_response(answer)
                if answer == 302:
                    self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/stock"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, headers, body) -> None:
        said = f"{headers['X-FBA-Timestamp']}.".encode() + body
        expected = hmac.new(SECRET.encode(), said, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(headers["X-FBA-Signature"], f"sha256={expected}")
        for change in json.loads(body)["changes"]:
            self.changes.setdefault(change["sku"], []).append(change["available"])
            if change["n"] > self.stock.get(change["sku"], (0, 0))[0]:
                self.stock[change["sku"]] = (change["n"], change["available"])

    @property
    def available(self) -> dict[str, int]:
        return {sku: available for sku, (_, available) in self.stock.items()}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
