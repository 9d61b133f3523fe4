"""The console's own settings, with a rotator more: one that is as careless as code can be."""

from compliance_site.settings import *  # noqa: F403
from compliance_site.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.secrets_rotation.faults.leaky.LeakyConfig"]
