import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil

from audit.models import AuditLog
from compliance_site.foundation.roles import Role

SENDERS = 8
SECONDS_OF_LOAD = 3


def test_what_was_acknowledged_before_a_kill_is_stored_once(console, make_user, token_of):
    token = token_of(make_user("trading-api", Role.SERVICE))
    deadline = time.monotonic() + SECONDS_OF_LOAD + 30

    def send_until_refused(sender):
        """Send events one after another; return the ids that were acknowledged."""
        acknowledged = []
        headers = {"Authorization": f"Token {token}"}
        with httpx.Client(base_url=console.url, headers=headers) as client:
            while time.monotonic() < deadline:
                event = {"id": f"{sender}-{len(acknowledged)}", "action": "START", "resource": "/b"}
                try:
                    answer = client.post("/audit/events", json=event)
                except httpx.TransportError:
                    break
                assert answer.status_code == 201, answer.text
                acknowledged.append(event["id"])
        return acknowledged

    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(send_until_refused, number) for number in range(SENDERS)]
        time.sleep(SECONDS_OF_LOAD)
        kill_all(console.process.pid)
        acknowledged = {event_id for sender in senders for event_id in sender.result()}

    stored = list(AuditLog.objects.filter(action="START").values_list("event_id", flat=True))
    assert len(acknowledged) > SENDERS
    assert acknowledged - set(stored) == set()
    assert len(stored) == len(set(stored))
    print(f"acknowledged {len(acknowledged)}, stored {len(stored)}, missing 0, doubled 0")


def kill_all(pid):
    server = psutil.Process(pid)
    for process in [server, *server.children(recursive=True)]:
        process.send_signal(signal.SIGKILL)
