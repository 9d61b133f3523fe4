"""The HTTP API of a small trading platform; each call ends up in the console's audit log."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from audit.capture.asgi import RECORDER, AuditMiddleware
from audit.capture.asgi_exchange import Scope
from examples.trading_api.state import (
    CURRENCIES,
    STRATEGIES,
    THEMES,
    USERS,
    Bot,
    Platform,
    Preferences,
    User,
)

# Where handlers leave who the request came from, for `identify`.
CURRENT_USER = "trading.user"


def create_app(*, console_url: str, token: str, spool: str | Path) -> AuditMiddleware:
    """Return the API with the audit middleware outermost, so that it sees every answer."""
    app = Starlette(
        routes=[
            Route("/login", login, methods=["POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/bot/start", start_bot, methods=["POST"]),
            Route("/bot/stop", stop_bot, methods=["POST"]),
            Route("/dashboard/pnl", show_pnl),
            Route("/user/preferences", show_preferences),
            Route("/user/preferences", change_preferences, methods=["PUT"]),
            Route("/payments", pay, methods=["POST"]),
            Route("/orders/{order_id:int}", show_order),
            Route("/health", show_health),
        ],
        exception_handlers={HTTPException: show_error},
    )
    app.state.platform = Platform()
    return AuditMiddleware(
        app,
        console_url=console_url,
        token=token,
        source="trading-api",
        spool=spool,
        identify=identify,
    )


def identify(scope: Scope) -> tuple[int, str] | None:
    """Tell the audit log who made a request, once the handler found out."""
    user: User | None = scope.get(CURRENT_USER)
    return (user.id, user.name) if user else None


async def login(request: Request) -> Response:
    body = await read_object(request)
    name, password = str(body.get("username")), str(body.get("password"))
    user = next((user for user in USERS if user.name == name), None)
    if user is None or not hmac.compare_digest(user.demo_password.encode(), password.encode()):
        record(request, "LOGIN_FAILED", "/login", actor=name, status_code=401)
        raise HTTPException(401, "Wrong name or password")
    request.scope[CURRENT_USER] = user
    record(request, "LOGIN", "/login", status_code=200)
    return JSONResponse({"userId": user.id, "token": user.demo_token})


async def logout(request: Request) -> Response:
    authenticate(request)
    record(request, "LOGOUT", "/logout", status_code=204)
    return Response(status_code=204)


async def start_bot(request: Request) -> Response:
    user = authenticate_trader(request)
    body = await read_object(request)
    if body.get("strategy") not in STRATEGIES:
        raise HTTPException(400, f"strategy must be one of {', '.join(STRATEGIES)}")
    bot = platform(request).start_bot(user, str(body["strategy"]))
    record(request, "START", f"/bot/{bot.id}", data={"strategy": bot.strategy})
    return JSONResponse({"botId": bot.id, "strategy": bot.strategy, "status": "RUNNING"})


async def stop_bot(request: Request) -> Response:
    user = authenticate_trader(request)
    bot = find_bot(request, (await read_object(request)).get("botId"))
    if bot.owner_id != user.id:
        raise HTTPException(403, "This bot belongs to somebody else")
    if not bot.is_running:
        raise HTTPException(409, "This bot is not running")
    bot.is_running = False
    record(request, "STOP", f"/bot/{bot.id}")
    return JSONResponse({"botId": bot.id, "status": "STOPPED"})


async def show_pnl(request: Request) -> Response:
    user = authenticate(request)
    return JSONResponse(platform(request).pnl(user))


async def show_preferences(request: Request) -> Response:
    user = authenticate(request)
    return JSONResponse(asdict(platform(request).preferences_of(user)))


async def change_preferences(request: Request) -> Response:
    user = authenticate(request)
    known = asdict(platform(request).preferences_of(user))
    changed = known | await read_object(request)
    is_valid = (
        changed.keys() == known.keys()
        and changed["theme"] in THEMES
        and changed["currency"] in CURRENCIES
        and isinstance(changed["notifications"], bool)
    )
    if not is_valid:
        raise HTTPException(400, "theme, currency and notifications can be set")
    platform(request).preferences[user.id] = Preferences(**changed)
    return JSONResponse(changed)


async def pay(request: Request) -> Response:
    authenticate_trader(request)
    body = await read_object(request)
    amount = body.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount <= 50_000:
        raise HTTPException(400, "amount must be above 0 and at most 50000")
    if body.get("currency") not in CURRENCIES:
        raise HTTPException(400, f"currency must be one of {', '.join(CURRENCIES)}")
    payment = next(platform(request).payments)
    return JSONResponse({"paymentId": payment, "status": "ACCEPTED"}, status_code=201)


async def show_order(request: Request) -> Response:
    user = authenticate(request)
    order_id: int = request.path_params["order_id"]
    owner_id = platform(request).orders.get(order_id)
    if owner_id is None:
        raise HTTPException(404, "There is no such order")
    if owner_id != user.id:
        raise HTTPException(403, "This order belongs to somebody else")
    return JSONResponse({"orderId": order_id, "symbol": "BTC-EUR", "status": "FILLED"})


async def show_health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def show_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def authenticate(request: Request) -> User:
    """Return the user of the bearer token or raise 401."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    for user in USERS:
        if scheme == "Bearer" and hmac.compare_digest(user.demo_token.encode(), token.encode()):
            request.scope[CURRENT_USER] = user
            return user
    raise HTTPException(401, "A bearer token is needed", {"WWW-Authenticate": "Bearer"})


def authenticate_trader(request: Request) -> User:
    """Return the trader of the bearer token; raise 401, or 403 for a viewer."""
    user = authenticate(request)
    if not user.is_trader:
        raise HTTPException(403, "Viewers cannot do this")
    return user


async def read_object(request: Request) -> dict[str, object]:
    """Return the JSON object of the body or raise 400."""
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "The body must be a JSON object")
    return body


def find_bot(request: Request, bot_id: object) -> Bot:
    """Return the bot or raise 404."""
    bot = platform(request).bots.get(bot_id) if isinstance(bot_id, int) else None
    if bot is None:
        raise HTTPException(404, "There is no such bot")
    return bot


def platform(request: Request) -> Platform:
    """Return the state of the app that serves this request."""
    state: Platform = request.app.state.platform
    return state


def record(
    request: Request,
    action: str,
    resource: str,
    *,
    actor: str | None = None,
    status_code: int | None = None,
    data: object = None,
) -> None:
    """Record an event beside the request's own, done by who is signed in."""
    user_id, name = identify(request.scope) or (None, actor)
    request.scope[RECORDER].record(
        action=action,
        resource=resource,
        user_id=user_id,
        actor=name,
        status_code=status_code,
        data=data,
        scope=request.scope,
    )
