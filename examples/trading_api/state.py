"""The platform behind the API, in memory: users, their bots, preferences and orders."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

STRATEGIES = ("GRID", "MACD_TREND", "MEAN_REVERSION", "RSI_CROSS")
CURRENCIES = ("EUR", "GBP", "USD")
THEMES = ("dark", "light")


@dataclass(frozen=True)
class User:
    """Somebody who can sign in; viewers read, only traders move money or bots."""

    id: int
    name: str
    demo_password: str
    demo_token: str
    is_trader: bool = True


USERS = (
    User(1, "a.meyer", "demo-password-1", "demo-token-1"),
    User(2, "j.ortiz", "demo-password-2", "demo-token-2"),
    User(3, "s.khan", "demo-password-3", "demo-token-3", is_trader=False),
)


@dataclass
class Bot:
    id: int
    owner_id: int
    strategy: str
    is_running: bool = True


@dataclass
class Preferences:
    theme: str = "light"
    currency: str = "EUR"
    notifications: bool = True


def _first_orders() -> dict[int, int]:
    return {number: 1 + number % 2 for number in range(1001, 1041)}


@dataclass
class Platform:
    """Everything that a restart forgets."""

    bots: dict[int, Bot] = field(default_factory=dict)
    preferences: dict[int, Preferences] = field(default_factory=dict)
    # The owner of each order.
    orders: dict[int, int] = field(default_factory=_first_orders)
    payments: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def start_bot(self, owner: User, strategy: str) -> Bot:
        bot = Bot(id=len(self.bots) + 1, owner_id=owner.id, strategy=strategy)
        self.bots[bot.id] = bot
        return bot

    def pnl(self, user: User) -> dict[str, object]:
        bots = [bot for bot in self.bots.values() if bot.owner_id == user.id]
        running = sum(bot.is_running for bot in bots)
        realized = sum(round(bot.id * 13.7 % 97 - 31, 2) for bot in bots if not bot.is_running)
        return {"realized": round(realized, 2), "runningBots": running, "currency": "EUR"}

    def preferences_of(self, user: User) -> Preferences:
        return self.preferences.setdefault(user.id, Preferences())
