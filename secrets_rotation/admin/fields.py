"""Fields of secret things: read once into a `SecretText`, never written into a page."""

from __future__ import annotations

from typing import Any

from django import forms

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.models import Consumer, Secret

LONGEST_SUPPLIED = 4_096


class SecretInput(forms.PasswordInput):
    """A password input that browsers neither fill in nor offer to remember."""

    def __init__(self) -> None:
        super().__init__({"autocomplete": "new-password", "spellcheck": "false"})


class SecretTextarea(forms.Textarea):
    """A text area that is always empty when it is shown."""

    def __init__(self) -> None:
        super().__init__({"autocomplete": "off", "spellcheck": "false", "rows": 4})

    def format_value(self, value: Any) -> None:
        return None


class SecretTextField(forms.CharField):
    """A text that is a `SecretText` as soon as it is read, None when it is empty."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", SecretInput())
        super().__init__(max_length=LONGEST_SUPPLIED, strip=False, **options)

    def clean(self, value: Any) -> SecretText | None:
        text = super().clean(value)
        return SecretText(text) if text else None


class ConfirmationForm(forms.Form):
    """The name of a secret or consumer, typed: nobody acts on the wrong one by a slip."""

    name = forms.CharField(
        label="Type the name to confirm",
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, named: Secret | Consumer, data: Any = None) -> None:
        super().__init__(data)
        self.named = named

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name != self.named.name:
            raise forms.ValidationError(f"That is not the name; type {self.named.name}.")
        return name
