"""An API with keys that really open it, for tests of what creates and revokes them."""

import base64
import json
from urllib.parse import parse_qs

from tests.local_servers import HttpServer

ADMIN = "canary-admin-token-2718"


class KeyServer(HttpServer):
    """POST /keys, DELETE /keys/<name> and GET /me; `broken` makes it answer that status.

    `lose_answer` does what is asked and then answers 502, as a proxy does.
    """

    def __init__(self):
        self.keys = {}
        self.broken = None
        self.lose_answer = False
        super().__init__(self.answer_to)

    def answer_to(self, received):
        if self.broken:
            return self.broken, {"Location": self.url}, b""
        status = self.handle(received)
        if self.lose_answer:
            return 502, {}, b""
        return status, {}, b"{}"

    def handle(self, received):
        authorization = received.headers.get("authorization", "")
        if received.path == "/me":
            return 200 if authorization.removeprefix("Bearer ") in self.keys.values() else 401
        if received.path == "/token":
            client, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
            is_grant = parse_qs(received.body.decode()) == {"grant_type": ["client_credentials"]}
            is_known = client == "my client" and secret in self.keys.values()
            return 200 if is_grant and is_known else 401
        if authorization != f"Bearer {ADMIN}":
            return 403
        name = received.path.removeprefix("/keys").strip("/")
        if received.method == "DELETE":
            return 204 if self.keys.pop(name, None) else 404
        asked = json.loads(received.body)
        if len(asked["secret"]) < 8:
            return 422
        if asked["name"] in self.keys:
            return 409
        self.keys[asked["name"]] = asked["secret"]
        return 201
