"""Adding, changing and retiring a secret's consumers, all of it by `delivery.consumers`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from compliance_site.foundation.admin_pages import go
from compliance_site.foundation.master_key import EnvelopeError
from compliance_site.foundation.roles import Role
from secrets_rotation.admin.fields import ConfirmationForm
from secrets_rotation.admin.pages import for_officers, page
from secrets_rotation.admin.target_form import TargetForm, described
from secrets_rotation.declared import SettingsError
from secrets_rotation.delivery import consumers
from secrets_rotation.delivery.destinations.base import Destination
from secrets_rotation.delivery.registry import DESTINATIONS
from secrets_rotation.exceptions import ConsumerError, NameTakenError
from secrets_rotation.models import Consumer, Secret

PAGE_OF_SECRET = "admin:secrets_rotation_secret_change"  # noqa: S105  an address
REPLACED_ONLY = "The account that acknowledges for it. It can be replaced, not taken away."


class ConsumerForm(forms.Form):
    """Who the consumer is; how it gets its versions is the other form's matter."""

    name = forms.CharField(max_length=100, help_text="The program, such as billing.")
    service_account = forms.ModelChoiceField(
        User.objects.none(),
        required=False,
        empty_label="none, people acknowledge for it",
        help_text="The account that acknowledges for it.",
    )

    def __init__(self, data: Any = None, consumer: Consumer | None = None) -> None:
        account = consumer.service_account if consumer else None
        initial = {"name": consumer.name, "service_account": account} if consumer else None
        super().__init__(data, initial=initial)
        field = self.fields["service_account"]
        services = Q(is_active=True, groups__name=Role.SERVICE)
        known = services | Q(pk=account.pk) if account else services
        accounts = User.objects.filter(known).distinct().order_by("username")
        field.queryset = accounts  # type: ignore[attr-defined]
        if account:
            field.required, field.help_text = True, REPLACED_ONLY

    def new_account(self) -> User | None:
        """Return the account that was chosen; None for the one that it has."""
        changed = "service_account" in self.changed_data
        return self.cleaned_data["service_account"] if changed else None


@for_officers
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, id: int) -> HttpResponse:
    """Choose how versions get there, then say who the consumer is and where that is."""
    secret = get_object_or_404(Secret.objects.living(), pk=id)
    kind = DESTINATIONS.get(request.GET.get("delivery", ""))
    if kind is None:
        return _choice(request, secret)
    data = request.POST if request.method == "POST" else None
    texts, target = ConsumerForm(data), TargetForm(kind, data)
    is_valid = all([texts.is_valid(), target.is_valid()])
    if is_valid and _saved(texts, target, kind, secret=secret):
        message = f"{texts.cleaned_data['name']} was added; the current version is on its way."
        return go(request, message, PAGE_OF_SECRET, id)
    return _form_page(request, secret, kind, texts, target)


@for_officers
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, id: int, consumer_id: int) -> HttpResponse:
    """Change a consumer; secret settings that are left empty stay where the delivery does."""
    consumer = _living(id, consumer_id)
    kind = DESTINATIONS.get(request.GET.get("delivery", consumer.delivery))
    if kind is None:
        return _choice(request, consumer.secret, consumer)
    data = request.POST if request.method == "POST" else None
    stays = kind.name == consumer.delivery
    stored = stays and hasattr(consumer, "credential")
    texts = ConsumerForm(data, consumer)
    target = TargetForm(kind, data, consumer.destination if stays else None, is_stored=stored)
    is_valid = all([texts.is_valid(), target.is_valid()])
    if is_valid and _saved(texts, target, kind, consumer=consumer):
        return go(request, f"{texts.cleaned_data['name']} was changed.", PAGE_OF_SECRET, id)
    return _form_page(request, consumer.secret, kind, texts, target, consumer)


@for_officers
@require_http_methods(["GET", "HEAD", "POST"])
def retire(request: HttpRequest, id: int, consumer_id: int) -> HttpResponse:
    """End a consumer: nothing is delivered to it, and nobody waits for it."""
    consumer = _living(id, consumer_id)
    form = ConfirmationForm(consumer, request.POST if request.method == "POST" else None)
    if form.is_valid():
        consumers.retire(consumer)
        return go(request, f"{consumer.name} is retired.", PAGE_OF_SECRET, id)
    context = {"consumer": consumer, "secret": consumer.secret, "form": form}
    return page(request, "retire_consumer.html", f"Retire {consumer}", **context)


def _living(id: int, consumer_id: int) -> Consumer:
    rows = Consumer.objects.select_related("secret", "service_account", "credential")
    living = rows.filter(secret=id, secret__retired_at=None, retired_at=None)
    return get_object_or_404(living, pk=consumer_id)


def _choice(request: HttpRequest, secret: Secret, consumer: Consumer | None = None) -> HttpResponse:
    """Ask which way of delivery it is to be."""
    kinds = [described(kind) for kind in DESTINATIONS.values()]
    context: dict[str, Any] = {"secret": secret, "consumer": consumer, "kinds": kinds}
    title = f"Deliver {secret} to {consumer.name}" if consumer else f"Add a consumer of {secret}"
    return page(request, "choose_delivery.html", title, **context)


def _form_page(
    request: HttpRequest,
    secret: Secret,
    kind: type[Destination],
    texts: ConsumerForm,
    target: TargetForm,
    consumer: Consumer | None = None,
) -> HttpResponse:
    title = f"Change {consumer}" if consumer else f"Add a consumer of {secret}"
    return page(
        request,
        "consumer_form.html",
        title,
        secret=secret,
        consumer=consumer,
        delivery=described(kind),
        texts=texts,
        target=target,
        has_errors=bool(texts.errors or target.errors),
    )


def _saved(
    texts: ConsumerForm,
    target: TargetForm,
    kind: type[Destination],
    *,
    secret: Secret | None = None,
    consumer: Consumer | None = None,
) -> bool:
    """Add to the secret, or change the consumer; False when that was refused, as the forms say."""
    name, account = texts.cleaned_data["name"], texts.new_account()
    try:
        if secret:
            consumers.register(secret, name, kind.name, target.target(), account)
        elif consumer:
            moves = target.has_changed() or kind.name != consumer.delivery
            consumers.change(
                consumer,
                name=name,
                delivery=kind.name,
                destination=target.target() if moves else None,
                service_account=account,
            )
    except SettingsError as exc:
        target.add_problems(exc.fields)
    except NameTakenError as exc:
        texts.add_error("name", str(exc))
    except (ConsumerError, EnvelopeError) as exc:
        texts.add_error(None, str(exc))
    else:
        return True
    return False
