"""The whole way: the example backend's calls arrive in the log of a running console."""

import asyncio

import httpx
from django.db import connection

from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from examples.trading_api.main import create_app


def test_calls_of_the_example_backend_arrive_once_and_agree_with_sql(
    console, make_user, token_of, tmp_path
):
    service = token_of(make_user("trading-api", Role.SERVICE))
    auditor = {"Authorization": f"Token {token_of(make_user('alice', Role.AUDITOR))}"}
    app = create_app(console_url=console.url, token=service, spool=str(tmp_path / "spool.jsonl"))

    asyncio.run(trade(app))
    app.recorder.close(30)

    changes = console.get(
        "/audit/logs?action=UPDATE&resource=/user/preferences", headers=auditor
    ).json()
    logins = console.get("/audit/logs?action=LOGIN&format=csv", headers=auditor).text.splitlines()
    stats = console.get("/audit/stats?source=trading-api", headers=auditor).json()
    assert [(log["userId"], log["statusCode"]) for log in changes["logs"]] == [(1, 200)]
    assert [line.split(",")[1:4] for line in logins[1:]] == [["1", "LOGIN", "/login"]]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT action, count(*) FROM audit_log WHERE source = 'trading-api' GROUP BY 1"
        )
        assert stats["byAction"] == dict(cursor.fetchall())
    assert not AuditLog.objects.filter(request_data__contains="very-secret").exists()


async def trade(app):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://trading") as client:
        login = await client.post(
            "/login", json={"username": "a.meyer", "password": "demo-password-1"}
        )
        assert login.status_code == 200, login.text
        client.headers["Authorization"] = f"Bearer {login.json()['token']}"
        answers = [
            await client.post(
                "/bot/start", json={"strategy": "RSI_CROSS", "apiKey": "very-secret"}
            ),
            await client.get("/dashboard/pnl"),
            await client.put("/user/preferences", json={"theme": "dark"}),
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
