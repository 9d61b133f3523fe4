"""Real servers of a test's own: HTTP that answers as told, raw TCP, SMTP that keeps its mail."""

import contextlib
import socketserver
import threading
from dataclasses import dataclass
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict  # names in lower case
    body: bytes


@contextlib.contextmanager
def serving(server):
    """Run a server until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class HttpServer(ThreadingHTTPServer):
    """Answers with what `answer(received)` returns: status, headers, body."""

    daemon_threads = True

    def __init__(self, answer, address="127.0.0.1", port=0, context=None):
        self.received = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.command, self.path, headers, self.rfile.read(length))
                server.received.append(received)
                status, headers, body = answer(received)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        super().__init__((address, port), Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self):
        return self.server_port

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *args):
        """A client that left or did not trust the certificate is part of the tests."""


class RawServer(socketserver.ThreadingTCPServer):
    """Lets `talk(connection)` do what it likes with each connection."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, talk, port=0):
        self.connections = 0
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                server.connections += 1
                with contextlib.suppress(OSError):
                    talk(self.request)

        super().__init__(("127.0.0.1", port), Handler)

    @property
    def port(self):
        return self.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class SmtpServer(RawServer):
    """Takes mail (RFC 5321, as much of it as a client needs) and keeps it.

    `recipient_answer` is what it says to each recipient.
    """

    def __init__(self, port=0):
        self.mails = []
        self.recipient_answer = "250 OK"
        super().__init__(self.converse, port)

    def converse(self, connection):
        lines = connection.makefile("rb")

        def say(text):
            connection.sendall(f"{text}\r\n".encode())

        say("220 mail.test")
        for line in lines:
            verb = line[:4].upper().strip()
            if verb == b"RCPT":
                say(self.recipient_answer)
            elif verb == b"DATA":
                say("354 go on")
                taken = iter(lines.readline, b".\r\n")
                self.mails.append(message_from_bytes(b"".join(taken), policy=policy.default))
                say("250 kept")
            elif verb == b"QUIT":
                return say("221 bye")
            else:
                say("250 OK")
