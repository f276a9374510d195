"""What can go wrong with an upload or an import, as people and programs are told."""

from __future__ import annotations

from workspaces.problems import Problem


class NotNow(Problem):
    type = "not-now"
    status = 409
    title = "The import cannot do this in its present state"


class UploadIncomplete(Problem):
    type = "upload-incomplete"
    status = 409
    title = "The upload is not complete"
    default_detail = "Send the rest of the file first."


class WrongOffset(Problem):
    type = "wrong-offset"
    status = 409
    title = "The upload goes on at another place"


class UploadLocked(Problem):
    type = "upload-locked"
    status = 423
    title = "Another request is writing this upload"
    default_detail = "Wait until it has ended, ask for the offset with HEAD, and go on there."


class UploadTooLarge(Problem):
    type = "upload-too-large"
    status = 413
    title = "The file is too large"


class DiskFull(Problem):
    type = "disk-full"
    status = 507
    title = "The server has no room for this file"
    default_detail = "Nothing was lost. Ask whoever runs the server to make room, then go on."


class ChecksumMismatch(Problem):
    type = "checksum-mismatch"
    status = 460
    title = "The bytes did not arrive as they were sent"
    default_detail = "They were not kept. Send them again from the same offset."


class UnsupportedTusVersion(Problem):
    type = "unsupported-tus-version"
    status = 412
    title = "This server speaks tus 1.0.0"
    default_detail = "Send the header Tus-Resumable: 1.0.0."


class UnsupportedMediaType(Problem):
    type = "unsupported-media-type"
    status = 415
    title = "The body has another type than expected"
