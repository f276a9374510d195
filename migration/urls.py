"""The addresses of migration."""

from django.urls import include, path

from migration import api, tus
from migration.export.api import Export
from migration.pages import importing

API = [
    path("imports", api.Imports.as_view(), name="imports"),
    path("imports/<str:id>", api.OneImport.as_view(), name="import"),
    path("imports/<str:id>/start", api.Start.as_view(), name="start_import"),
    path("imports/<str:id>/pause", api.Pause.as_view(), name="pause_import"),
    path("imports/<str:id>/resume", api.Resume.as_view(), name="resume_import"),
    path("imports/<str:id>/cancel", api.Cancel.as_view(), name="cancel_import"),
    path("imports/<str:id>/undo", api.Undo.as_view(), name="undo_import"),
    path("imports/<str:id>/again", api.Again.as_view(), name="import_again"),
    path("imports/<str:id>/report", api.Report.as_view(), name="import_report"),
    path("imports/<str:id>/set-aside", api.SetAside.as_view(), name="set_aside"),
    path("imports/<str:id>/deviations", api.Deviations.as_view(), name="import_deviations"),
    path("imports/<str:id>/salvage", api.Salvage.as_view(), name="salvage_import"),
    path("imports/<str:id>/attachments/<str:table>", api.Attachment.as_view(), name="attachment"),
    path("uploads", tus.Uploads.as_view(), name="uploads"),
    path("uploads/<str:upload>", tus.OneUpload.as_view(), name="upload"),
    path("spaces/<str:space>/export", Export.as_view(), name="export"),
]
urlpatterns = [
    path("api/v1/", include(API)),
    path("imports", importing.imports_page, name="imports_page"),
    path("imports/<str:id>", importing.import_page, name="import_page"),
    path("imports/<str:id>/start", importing.start, name="start_import_page"),
    path("imports/<str:id>/<str:verb>", importing.act, name="import_act"),
    path("spaces/<str:space>/import", importing.import_into, name="import_into"),
    path("spaces/<str:space>/uploads/<str:upload>/forget", importing.forget_upload, name="forget_upload"),
]
