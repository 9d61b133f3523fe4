"""Run the trading API: `python -m examples.trading_api`; see the README for its settings."""

from __future__ import annotations

import os

import uvicorn

from examples.trading_api.main import create_app

uvicorn.run(
    create_app(
        console_url=os.environ.get("COMPLIANCE_URL", "http://127.0.0.1:8000"),
        token=os.environ["COMPLIANCE_TOKEN"],
        spool=os.environ.get("COMPLIANCE_SPOOL", "var/trading-api-spool.jsonl"),
    ),
    host="127.0.0.1",
    port=int(os.environ.get("PORT", "8100")),
    log_level="warning",
)
