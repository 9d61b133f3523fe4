"""Rotate now: what would be done, then, confirmed, the rotation itself."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from compliance_site.foundation.admin_pages import refuse
from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation import tasks
from secrets_rotation.admin.fields import ConfirmationForm, SecretTextField
from secrets_rotation.admin.pages import for_officers, page
from secrets_rotation.exceptions import (
    IdempotencyError,
    RotationError,
    RunInFlightError,
    ValueNeededError,
    ValueUnfitError,
)
from secrets_rotation.models import Run, Secret, Trigger
from secrets_rotation.runs.dry_run import DryRun, dry_run, target_problems
from secrets_rotation.runs.start import start

RUN_PAGE = "admin:secrets_rotation_run_change"
SENT_BEFORE = "This form was sent before with another value. Look at the secret's runs first."
NEEDED = "The console cannot make this value: give the new one here."


class RotateForm(ConfirmationForm):
    """The confirmation, a value for those who bring one, and a key against a second click."""

    new_value = SecretTextField(required=False, label="New value")
    key = forms.UUIDField(widget=forms.HiddenInput())


@for_officers
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def rotate(request: HttpRequest, id: int) -> HttpResponse:
    """Show what would be done; begin it and carry it on once it is confirmed."""
    secret = get_object_or_404(Secret.objects.select_related("policy", "override"), pk=id)
    form = RotateForm(secret, request.POST if request.method == "POST" else None)
    if form.is_valid() and not target_problems(secret):
        try:
            run = _begun(secret, form)
        except RunInFlightError as exc:
            return refuse(request, str(exc), RUN_PAGE, exc.run_id)
        if run is not None:
            tasks.advance_now(run.pk)
            return redirect(RUN_PAGE, run.pk)
    return _form_page(request, secret, form, dry_run(secret))


def _form_page(
    request: HttpRequest, secret: Secret, form: RotateForm, look: DryRun
) -> HttpResponse:
    # Nothing was begun with the key that came: another one, so that a value can be corrected.
    context: dict[str, Any] = {"secret": secret, "form": form, "dry": look, "key": uuid.uuid4()}
    return page(request, "rotate.html", f"Rotate {secret}", **context)


def _begun(secret: Secret, form: RotateForm) -> Run | None:
    """Begin the rotation; None when it was refused, which the form then says."""
    try:
        return start(
            secret,
            trigger=Trigger.MANUAL,
            supplied=form.cleaned_data["new_value"],
            idempotency_key=f"console-{form.cleaned_data['key']}",
        )
    except RunInFlightError:
        raise
    except ValueUnfitError as exc:
        form.add_error("new_value", str(exc))
    except ValueNeededError:
        form.add_error("new_value", NEEDED)
    except IdempotencyError:
        form.add_error(None, SENT_BEFORE)
    except (RotationError, EnvelopeError) as exc:
        form.add_error(None, str(exc))
    return None
