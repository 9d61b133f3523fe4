"""A KV store of version 2 as OpenBao 2.7 answers it, as far as the console speaks to one."""

import json
from collections import defaultdict

TOKEN = "root-token-for-tests"
CAS = "check-and-set parameter did not match the current version"


class KvStore:
    """Call it with a request; `versions` holds what was written, path by path."""

    def __init__(self):
        self.versions = defaultdict(list)
        self.deleted, self.destroyed = set(), set()
        self.requests = []
        # Called before each write, as somebody else who writes at that moment.
        self.meanwhile = lambda: None

    def __call__(self, method, path, headers, body):
        self.requests.append((method, path))
        status, answer = self.answer(method, path, headers, json.loads(body or "null"))
        content = b"" if answer is None else json.dumps(answer).encode()
        return status, {"Content-Type": "application/json"}, content

    def answer(self, method, path, headers, body):
        if path == "/v1/auth/approle/login":
            if body == {"role_id": "role", "secret_id": "role-secret"}:
                return 200, {"auth": {"client_token": TOKEN}}
            return 400, {"errors": ["invalid role or secret ID"]}
        if headers.get("x-vault-token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        kind, _, path = path.removeprefix("/v1/secret/").partition("/")
        match method, kind:
            case "GET", "data":
                return self.read(path)
            case "DELETE", "data":
                self.deleted.add((path, len(self.versions[path])))
            case _, "data":
                return self.write(path, body)
            case _, "destroy":
                self.destroyed.add((path, *body["versions"]))
        return 204, None

    def read(self, path):
        number = len(self.versions[path])
        if not number:
            return 404, {"errors": []}
        deleted, destroyed = ((path, number) in each for each in (self.deleted, self.destroyed))
        metadata = {"version": number, "destroyed": destroyed}
        metadata["deletion_time"] = "2026-01-01T00:00:00Z" if deleted else ""
        gone = deleted or destroyed
        data = None if gone else self.versions[path][-1]
        return 404 if gone else 200, {"data": {"data": data, "metadata": metadata}}

    def write(self, path, body):
        self.meanwhile()
        if body.get("options", {}).get("cas", len(self.versions[path])) != len(self.versions[path]):
            return 400, {"errors": [CAS]}
        self.versions[path].append(body["data"])
        return 200, {"data": {"version": len(self.versions[path]), "deletion_time": ""}}
