"""The managers' browser admin: members, groups, spaces, devices, invitations and the audit trail.

Managers of a workspace see theirs; superusers see all, and change only what they manage. Nobody sees
anything of somebody else's private space. Forms call `workspaces.actions`, which checks and audits.
"""

from workspaces.admin import audit, people, spaces
from workspaces.admin.site import Managed, ManagedAdmin, managed, site

__all__ = ["Managed", "ManagedAdmin", "audit", "managed", "people", "site", "spaces"]
