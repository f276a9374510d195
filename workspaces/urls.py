from django.urls import URLPattern, URLResolver, include, path

from workspaces import api
from workspaces.pages import labs, sharing, signing

# Addresses and group names come whole, whatever stands in them: hence `path`.
API: list[URLPattern | URLResolver] = [
    path("workspaces", api.Workspaces.as_view(), name="workspaces"),
    path("workspaces/<str:workspace>/members", api.Members.as_view(), name="members"),
    path("workspaces/<str:workspace>/members/<path:email>", api.OneMember.as_view(), name="member"),
    path("workspaces/<str:workspace>/groups", api.Groups.as_view(), name="groups"),
    path("workspaces/<str:workspace>/groups/<path:group>", api.OneGroup.as_view(), name="group"),
    path("spaces/<str:space>/roles", api.Roles.as_view(), name="roles"),
    path("spaces/<str:space>/roles/<path:who>", api.OneRole.as_view(), name="role"),
    path("devices", api.Devices.as_view(), name="devices"),
    path("devices/<str:device>", api.OneDevice.as_view(), name="device"),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include(API)),
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
]
