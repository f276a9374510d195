from django.urls import URLPattern, URLResolver, path

from workspaces import api
from workspaces.pages import labs, sharing, signing

# Addresses and group names come whole, whatever stands in them: hence `path`.
urlpatterns: list[URLPattern | URLResolver] = [
    path("welcome/<str:token>", signing.welcome, name="welcome"),
    path("join/<str:token>", signing.join, name="join"),
    path("sign-in", signing.sign_in, name="sign_in"),
    path("sign-out", signing.sign_out, name="sign_out"),
    path("workspaces", labs.create, name="create_workspace_page"),
    path("workspaces/<str:workspace>", labs.people, name="people"),
    path("workspaces/<str:workspace>/invite", labs.invite, name="invite"),
    path("workspaces/<str:workspace>/members", labs.change_member, name="change_member"),
    path("workspaces/<str:workspace>/groups", labs.create_group, name="create_group"),
    path("spaces", sharing.create, name="create_space_page"),
    path("spaces/<str:space>/sharing", sharing.sharing, name="sharing"),
    path("spaces/<str:space>/settings", sharing.settings, name="space_settings"),
    path("api/v1/workspaces", api.Workspaces.as_view(), name="workspaces"),
    path("api/v1/workspaces/<str:workspace>/members", api.Members.as_view(), name="members"),
    path("api/v1/workspaces/<str:workspace>/members/<path:email>", api.OneMember.as_view(), name="member"),
    path("api/v1/workspaces/<str:workspace>/groups", api.Groups.as_view(), name="groups"),
    path("api/v1/workspaces/<str:workspace>/groups/<path:group>", api.OneGroup.as_view(), name="group"),
    path("api/v1/spaces/<str:space>/roles", api.Roles.as_view(), name="roles"),
    path("api/v1/spaces/<str:space>/roles/<path:who>", api.OneRole.as_view(), name="role"),
    path("api/v1/devices", api.Devices.as_view(), name="devices"),
    path("api/v1/devices/<str:device>", api.OneDevice.as_view(), name="device"),
]
