"""What is rotated, under which policy, what became of each rotation, and who was told.

Values are never in these rows but sealed, in tables of their own. The SQL that keeps the
history append-only is in `migrations/`.
"""

from secrets_rotation.models.break_glass import BreakGlass, BreakGlassMember, BreakGlassState
from secrets_rotation.models.consumers import (
    Acknowledgement,
    Consumer,
    ConsumerCredential,
    Delivery,
    DeliveryState,
)
from secrets_rotation.models.policies import Policy, PolicyOverride, Unit
from secrets_rotation.models.runs import (
    ENDED,
    IN_FLIGHT,
    PrincipalLock,
    Rotation,
    Run,
    RunState,
    Step,
    Trigger,
)
from secrets_rotation.models.secrets import (
    Secret,
    TargetCredential,
    Version,
    VersionState,
    VersionValue,
)

__all__ = [
    "ENDED",
    "IN_FLIGHT",
    "Acknowledgement",
    "BreakGlass",
    "BreakGlassMember",
    "BreakGlassState",
    "Consumer",
    "ConsumerCredential",
    "Delivery",
    "DeliveryState",
    "Policy",
    "PolicyOverride",
    "PrincipalLock",
    "Rotation",
    "Run",
    "RunState",
    "Secret",
    "Step",
    "TargetCredential",
    "Trigger",
    "Unit",
    "Version",
    "VersionState",
    "VersionValue",
]
