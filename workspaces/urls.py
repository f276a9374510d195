from django.urls import URLPattern, URLResolver, path

from workspaces import api

# Addresses and group names come whole, whatever stands in them: hence `path`.
urlpatterns: list[URLPattern | URLResolver] = [
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
