from audit.reading.access import READERS
from compliance_site.foundation.api.permissions import role_permission
from compliance_site.foundation.roles import Role

ReadsAuditLog = role_permission(*READERS)
LooksUpSecrets = role_permission(Role.SECURITY_OFFICER)
SendsEvents = role_permission(Role.SERVICE)
