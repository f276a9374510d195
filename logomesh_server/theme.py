"""How the managers' admin looks, and what its menu holds."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _


def _listing(model: str) -> Any:
    return reverse_lazy(f"admin:{model}_changelist")


def _item(title: Any, icon: str, link: Any) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": link}


def _for_superusers(request: HttpRequest) -> bool:
    return bool(request.user.is_superuser)


def workspace_names(request: HttpRequest) -> str:
    """Under the name of the server: what one is looking at."""
    from workspaces.admin import managed

    names = [workspace.name for workspace in managed(request).visible()[:3]]
    return (
        ", ".join(names)
        if len(names) < 3
        else str(_("%(count)s workspaces")) % {"count": managed(request).visible().count()}
    )


# One quiet blue on grey, the same in the light and in the dark.
BLUES = {
    "50": "oklch(97% .014 245)",
    "100": "oklch(93.5% .03 245)",
    "200": "oklch(88% .055 245)",
    "300": "oklch(80% .085 245)",
    "400": "oklch(71% .11 245)",
    "500": "oklch(62% .125 245)",
    "600": "oklch(52% .12 245)",
    "700": "oklch(45% .105 245)",
    "800": "oklch(38% .085 245)",
    "900": "oklch(32% .065 245)",
    "950": "oklch(23% .05 245)",
}

UNFOLD: dict[str, Any] = {
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("logomesh.svg")}
    ],
    "STYLES": [lambda request: static("desk.css")],
    "SCRIPTS": [lambda request: static("pages.js"), lambda request: static("desk.js")],
    "SITE_TITLE": "LogoMesh",
    "SITE_HEADER": "LogoMesh",
    "SITE_SUBHEADER": workspace_names,
    "SITE_SYMBOL": "hub",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "COLORS": {"primary": BLUES},
    "DASHBOARD_CALLBACK": "logomesh_server.dashboard.add_figures",
    "ACCOUNT": {"navigation": [{"title": _("Your spaces"), "link": "/"}]},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {"items": [_item(_("Overview"), "monitoring", reverse_lazy("admin:index"))]},
            {
                "title": _("People"),
                "separator": True,
                "items": [
                    _item(_("Members"), "group", _listing("workspaces_membership")),
                    _item(_("Groups"), "groups", _listing("workspaces_group")),
                    _item(_("Invitations"), "mail", _listing("workspaces_invitation")),
                    _item(_("Devices"), "devices", _listing("workspaces_device")),
                ],
            },
            {
                "title": _("Work"),
                "separator": True,
                "items": [
                    _item(_("Shared spaces"), "hub", _listing("workspaces_space")),
                    _item(_("Imports"), "upload_file", _listing("migration_import")),
                    _item(_("Audit trail"), "history", _listing("workspaces_auditentry")),
                    _item(_("Workspaces"), "domain", _listing("workspaces_workspace")),
                ],
            },
            {
                "title": _("Installation"),
                "separator": True,
                "items": [
                    _item(_("Database"), "database", reverse_lazy("database"))
                    | {"permission": _for_superusers}
                ],
            },
        ],
    },
}
