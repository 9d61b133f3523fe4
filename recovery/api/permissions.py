from compliance_site.foundation.api.permissions import role_permission
from compliance_site.foundation.roles import PEOPLE, Role

SeesBackups = role_permission(*PEOPLE)
Operates = role_permission(Role.OPERATOR)
