"""The one who acts: every command is given one and asks it for permission."""

from dataclasses import dataclass, field
from uuid import UUID

from billing.access.limits import KeyLimits
from billing.access.roles import PERMISSIONS, Permission, Role
from billing.errors import ForbiddenError, NotFoundError


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or a service, its role, and the one customer it is confined to, if any."""

    name: str
    role: Role
    customer_id: UUID | None = None
    limits: KeyLimits | None = field(default=None, compare=False)
    """How much it may send and ask; None for whoever comes without a key."""

    def may(self, permission: Permission) -> bool:
        """Whether the role has that permission."""
        return permission in PERMISSIONS[self.role]

    def require(self, permission: Permission) -> None:
        """Refuse unless the role has that permission.

        Raises:
            ForbiddenError: naming what is missing.
        """
        if not self.may(permission):
            raise ForbiddenError(
                f"The role {self.role.value} may not do this; it needs {permission.value}.",
                details={"role": self.role.value, "permission": permission.value},
            )

    def require_customer(self, customer_id: UUID) -> None:
        """Refuse another customer's data as if it did not exist.

        Raises:
            NotFoundError: if this actor is confined to another customer.
        """
        if self.customer_id is not None and self.customer_id != customer_id:
            raise NotFoundError("There is no such resource.")


SYSTEM = Actor(name="system", role=Role.SUPER_ADMIN)
"""The pipeline and the operator's command line."""
