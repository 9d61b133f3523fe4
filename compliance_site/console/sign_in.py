"""Signing in: people with a role, and a refusal that says what to do."""

from __future__ import annotations

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError

from compliance_site.foundation.roles import PEOPLE, has_role


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": (
            "That name and password do not belong together. Check both; passwords distinguish"
            " capital letters."
        ),
        "inactive": "This account is switched off. Ask an administrator of the console.",
        "no_role": (
            "This account cannot open the console. Ask an administrator for the role auditor,"
            " security officer or operator."
        ),
    }

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Refuse services and accounts without a role, and let the refusal be recorded."""
        super().confirm_login_allowed(user)  # type: ignore[arg-type]  # stubs want a User
        if not has_role(user, *PEOPLE):
            user_login_failed.send(
                sender=__name__,
                credentials={"username": user.get_username()},
                request=self.request,
            )
            raise ValidationError(self.error_messages["no_role"], code="no_role")
