"""A console's `POST /audit/events` for tests of what sends to it: a real HTTP server."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "canary-token-3141"


def eventually(predicate, seconds=20):
    """Poll until the predicate holds and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (result := predicate()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return result


class FakeConsole:
    """Stores events by source and id, and counts how often each was taken as new.

    `status` other than 201 is answered without storing; while `open` is cleared, requests
    hang; `refuses(event)` returns an error for an event that is rejected.
    """

    def __init__(self):
        self.status = 201
        self.open = threading.Event()
        self.open.set()
        self.refuses = lambda event: None
        self.largest_batch = 10_000
        self.events = []
        self.batch_sizes = []
        self.authorizations = set()
        self.port = 0
        self.guard = threading.Lock()
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def ids(self):
        return [event["id"] for event in self.events]

    def start(self):
        console = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                console.open.wait(30)
                status, answer = console.answer(self.path, self.headers, json.loads(body))
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Location", console.url + "/elsewhere")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *args):
                # A client that was killed while it waited.
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path, headers, body):
        self.authorizations.add(headers["Authorization"])
        self.batch_sizes.append(len(body["events"]))
        if path != "/audit/events" or headers["Authorization"] != f"Token {TOKEN}":
            return 401, {"error": "no"}
        if self.status != 201:
            return self.status, {"error": "no"}
        if len(body["events"]) > self.largest_batch:
            return 413, {"error": "too large"}
        with self.guard:
            return 201, self._store(body["events"])

    def _store(self, events):
        known = {(event["source"], event["id"]) for event in self.events}
        errors = [self.refuses(event) for event in events]
        good = [event for event, error in zip(events, errors, strict=True) if not error]
        new = [event for event in good if (event["source"], event["id"]) not in known]
        self.events += new
        rejected = [
            {"index": index, "id": events[index]["id"], "error": error}
            for index, error in enumerate(errors)
            if error
        ]
        return {"accepted": len(new), "duplicates": len(good) - len(new), "rejected": rejected}

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.open.set()
        self.stop()
