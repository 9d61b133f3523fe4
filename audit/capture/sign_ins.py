"""Sign-ins, sign-outs and refused credentials, from Django's own signals."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from audit.capture.actors import ANONYMOUS, Actor, Circumstances, current, user_actor
from audit.capture.recording import record
from audit.capture.requests import circumstances_of
from audit.models import Action
from compliance_site.foundation.api.authentication import credentials_refused


def connect() -> None:
    user_logged_in.connect(record_sign_in)
    user_logged_out.connect(record_sign_out)
    user_login_failed.connect(record_failed_sign_in)
    credentials_refused.connect(record_refused_credentials)


def record_sign_in(request: HttpRequest, user: AbstractBaseUser, **kwargs: Any) -> None:
    record(
        Action.LOGIN,
        actor=user_actor(user),
        resource=request.path,
        circumstances=circumstances_of(request),
    )


def record_sign_out(request: HttpRequest, user: AbstractBaseUser | None, **kwargs: Any) -> None:
    # Django sends it for a visitor who was not signed in as well.
    if user is None:
        return
    record(
        Action.LOGOUT,
        actor=user_actor(user),
        resource=request.path,
        circumstances=circumstances_of(request),
    )


def record_failed_sign_in(
    credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    """Record which account was tried.

    A name that is no account's is not kept: people type passwords into that field.
    """
    username = str(credentials.get("username") or "")
    account = get_user_model().objects.filter(username=username.replace("\0", "")).first()
    record(
        Action.LOGIN_FAILED,
        actor=Actor(ANONYMOUS.type, username, account.pk) if account else ANONYMOUS,
        resource=request.path if request else "",
        details={"account": "known" if account else "unknown"},
        circumstances=_circumstances(request),
    )


def record_refused_credentials(
    request: HttpRequest, scheme: str, reason: str, **kwargs: Any
) -> None:
    record(
        Action.LOGIN_FAILED,
        actor=ANONYMOUS,
        resource=request.path,
        details={"scheme": scheme, "reason": reason},
        status_code=401,
        circumstances=circumstances_of(request),
    )


def _circumstances(request: HttpRequest | None) -> Circumstances:
    return circumstances_of(request) if request else current()
