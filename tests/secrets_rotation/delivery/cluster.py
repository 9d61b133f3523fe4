"""The part of the Kubernetes API that serves Secrets, with resource versions and merge patches."""

import json

TOKEN = "token-of-a-service-account"


class Cluster:
    """Call it with a request; `secrets` holds what there is, by path."""

    def __init__(self):
        self.secrets = {}
        self.changes = 0
        # Called before each change, as somebody else who changes something at that moment.
        self.meanwhile = lambda: None

    def __call__(self, method, path, headers, body):
        status, answer = self.answer(method, path, headers, json.loads(body or "null"))
        if status >= 400:
            # As the real one, it says what was sent.
            answer = {"kind": "Status", "code": status, "message": f"refused: {body!r}"}
        return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def answer(self, method, path, headers, body):
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, None
        if method != "GET":
            self.meanwhile()
        path = path.removeprefix("/api/v1/namespaces/")
        if method == "POST":
            return self.create(f"{path}/{body['metadata']['name']}", body)
        if path not in self.secrets:
            return 404, None
        if method == "PATCH":
            assert headers["content-type"] == "application/merge-patch+json"
            return self.patch(path, body)
        return 200, self.secrets[path]

    def create(self, path, body):
        if path in self.secrets:
            return 409, None
        self.put(path, merged({"apiVersion": "v1", "kind": "Secret"}, body))
        return 201, self.secrets[path]

    def patch(self, path, body):
        named = body["metadata"].get("resourceVersion")
        if named not in {None, self.secrets[path]["metadata"]["resourceVersion"]}:
            return 409, None
        self.put(path, merged(self.secrets[path], body))
        return 200, self.secrets[path]

    def put(self, path, secret):
        """Store a Secret under its next resource version."""
        self.changes += 1
        self.secrets[path] = merged(secret, {"metadata": {"resourceVersion": str(self.changes)}})


def merged(there, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    there = dict(there) if isinstance(there, dict) else {}
    for key, value in patch.items():
        if value is None:
            there.pop(key, None)
        else:
            there[key] = merged(there.get(key), value)
    return there
