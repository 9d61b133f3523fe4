"""Ask the web server of this container whether it lives; the exit code says.

Usage: healthcheck.py [PORT]. The request names a host that the console answers to.
"""

import http.client
import os
import sys


def main(port: int = 8000) -> int:
    """Return 0 when /health answers 200."""
    host = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".") or "localhost"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health", headers={"Host": host})
        return int(connection.getresponse().status != http.client.OK)
    except (OSError, http.client.HTTPException):
        return 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
