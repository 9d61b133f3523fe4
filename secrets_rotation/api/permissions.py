from compliance_site.foundation.api.permissions import role_permission
from compliance_site.foundation.roles import PEOPLE, Role

SeesRotation = role_permission(*PEOPLE)
Rotates = role_permission(Role.SECURITY_OFFICER)
Acknowledges = role_permission(Role.SECURITY_OFFICER, Role.SERVICE)
