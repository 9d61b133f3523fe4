"""Rotation's pages in the console: secrets, runs, emergencies, policies.

The pages are views of their own, one module each: Django's forms would write past
`catalogue`, `policies/change` and `runs/`, which check and record what is done.
"""

from django.contrib import admin

from secrets_rotation.admin.registered import BreakGlassAdmin, PolicyAdmin, RunAdmin, SecretAdmin
from secrets_rotation.models import BreakGlass, Policy, Run, Secret

admin.site.register(Secret, SecretAdmin)
admin.site.register(Run, RunAdmin)
admin.site.register(BreakGlass, BreakGlassAdmin)
admin.site.register(Policy, PolicyAdmin)
