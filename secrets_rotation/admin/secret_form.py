"""Adding, changing and retiring secrets, all of it by `catalogue`. Values have no place here."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from compliance_site.foundation.admin_pages import go, refuse
from secrets_rotation import catalogue
from secrets_rotation.admin.fields import ConfirmationForm
from secrets_rotation.admin.pages import for_officers, page
from secrets_rotation.admin.rules_form import OverrideForm, as_initial
from secrets_rotation.admin.target_form import TargetForm, described
from secrets_rotation.declared import SettingsError
from secrets_rotation.exceptions import RunInFlightError, SecretExistsError
from secrets_rotation.models import Policy, Secret
from secrets_rotation.policies.rules import PolicyError
from secrets_rotation.rotators.base import Rotator
from secrets_rotation.rotators.registry import ROTATORS

PAGE_OF_SECRET = "admin:secrets_rotation_secret_change"  # noqa: S105  an address
NAME = Secret._meta.get_field("name")
MOST_TAGS = 50


class ChangeForm(forms.Form):
    """What people say of a secret and may change."""

    owner = forms.CharField(
        required=False, max_length=200, help_text="The person or team who answers for it."
    )
    tags = forms.CharField(
        required=False, max_length=2_000, help_text="Separated by commas, such as payments, eu."
    )
    depends_on = forms.ModelMultipleChoiceField(
        Secret.objects.none(),
        required=False,
        help_text="Secrets that are rotated before this one when many are.",
    )

    def __init__(self, data: Any = None, secret: Secret | None = None) -> None:
        super().__init__(data, initial=_described(secret) if secret else None)
        others = Secret.objects.living()
        if secret is not None:
            others = others.exclude(pk=secret.pk)
        self.fields["depends_on"].queryset = others  # type: ignore[attr-defined]

    def clean_tags(self) -> list[str]:
        tags = sorted({tag.strip() for tag in self.cleaned_data["tags"].split(",")} - {""})
        if len(tags) > MOST_TAGS or any(len(tag) > MOST_TAGS for tag in tags):
            raise forms.ValidationError("Give up to 50 tags of up to 50 signs.")
        return tags


class AddForm(ChangeForm):
    """The same with what never changes: type and name."""

    secret_type = forms.ModelChoiceField(Policy.objects.all(), label="Type", empty_label=None)
    name = forms.CharField(max_length=NAME.max_length, validators=NAME.validators)
    field_order = ("secret_type", "name", "owner", "tags", "depends_on")


@for_officers
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    """Choose a rotator, then describe the secret and its target."""
    kind = ROTATORS.get(request.GET.get("rotator", ""))
    if kind is None:
        rotators = sorted(map(described, ROTATORS.values()), key=lambda each: each.title)
        return page(request, "choose_rotator.html", "Add a secret", rotators=rotators)
    data = request.POST if request.method == "POST" else None
    texts, target, rules = AddForm(data), TargetForm(kind, data), OverrideForm(data)
    if all([texts.is_valid(), target.is_valid(), rules.is_valid()]):
        secret = _added(kind, texts, target, rules)
        if secret is not None:
            message = f"{secret} was added. Its first rotation gives it a value."
            return go(request, message, PAGE_OF_SECRET, secret.pk)
    return _form_page(request, "Add a secret", kind, texts, target, rules)


@for_officers
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, id: int) -> HttpResponse:
    """Change what people say of a secret; secret settings that are left empty stay."""
    secret = _living(id)
    kind = ROTATORS.get(secret.rotator)
    if kind is None:
        message = f"There is no rotator {secret.rotator}; this console cannot change its target."
        return refuse(request, message, PAGE_OF_SECRET, id)
    data = request.POST if request.method == "POST" else None
    texts = ChangeForm(data, secret)
    target = TargetForm(kind, data, secret.target, is_stored=hasattr(secret, "target_credential"))
    override = getattr(secret, "override", None)
    rules = OverrideForm(data, initial=as_initial(override))
    is_valid = all([texts.is_valid(), target.is_valid(), rules.is_valid()])
    if is_valid and _changed(secret, texts, target, rules):
        return go(request, f"{secret} was changed.", PAGE_OF_SECRET, id)
    return _form_page(request, f"Change {secret}", kind, texts, target, rules, secret)


@for_officers
@require_http_methods(["GET", "HEAD", "POST"])
def retire(request: HttpRequest, id: int) -> HttpResponse:
    """Take a secret out of rotation for good."""
    secret = _living(id)
    form = ConfirmationForm(secret, request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            catalogue.retire(secret)
        except RunInFlightError as exc:
            return refuse(request, str(exc), "admin:secrets_rotation_run_change", exc.run_id)
        return go(request, f"{secret} is retired.", PAGE_OF_SECRET, id)
    return page(request, "retire.html", f"Retire {secret}", secret=secret, form=form)


def _living(id: int) -> Secret:
    secrets = Secret.objects.living().select_related("policy", "override", "target_credential")
    return get_object_or_404(secrets, pk=id)


def _form_page(
    request: HttpRequest,
    title: str,
    kind: type[Rotator],
    texts: ChangeForm,
    target: TargetForm,
    rules: OverrideForm,
    secret: Secret | None = None,
) -> HttpResponse:
    has_errors = any(form.errors for form in (texts, target, rules))
    return page(
        request,
        "secret_form.html",
        title,
        secret=secret,
        rotator=described(kind),
        texts=texts,
        target=target,
        rules=rules,
        has_errors=has_errors,
    )


def _added(
    kind: type[Rotator], texts: AddForm, target: TargetForm, rules: OverrideForm
) -> Secret | None:
    """Add the secret; None when it was refused, which the forms then say."""
    said = texts.cleaned_data
    override = {name: value for name, value in rules.rules().items() if value is not None}
    try:
        return catalogue.add(
            catalogue.Description(
                secret_type=said["secret_type"].pk,
                name=said["name"],
                rotator=kind.name,
                target=target.target(),
                owner=said["owner"],
                tags=tuple(said["tags"]),
                override=override,
                depends_on=tuple(said["depends_on"]),
            )
        )
    except PolicyError as exc:
        rules.add_problems(exc.fields)
    except SettingsError as exc:
        target.add_problems(exc.fields)
    except SecretExistsError as exc:
        texts.add_error("name", str(exc))
    return None


def _changed(secret: Secret, texts: ChangeForm, target: TargetForm, rules: OverrideForm) -> bool:
    """Change the secret; False when it was refused, which the forms then say."""
    try:
        catalogue.change(
            secret,
            target=target.target() if target.has_changed() else None,
            override=rules.rules() if rules.has_changed() else None,
            **texts.cleaned_data,
        )
    except PolicyError as exc:
        rules.add_problems(exc.fields)
    except SettingsError as exc:
        target.add_problems(exc.fields)
    except RunInFlightError as exc:
        texts.add_error(None, f"{exc} Its target cannot change meanwhile.")
    else:
        return True
    return False


def _described(secret: Secret) -> dict[str, Any]:
    return {
        "owner": secret.owner,
        "tags": ", ".join(secret.tags),
        "depends_on": list(secret.depends_on.all()),
    }
