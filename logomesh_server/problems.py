"""What can go wrong before or around any app: odd requests, services that are away, our own mistakes."""

from workspaces.problems import Problem


class Forbidden(Problem):
    type = "forbidden"
    status = 403
    title = "This is not allowed"


class NotAcceptable(Problem):
    type = "not-acceptable"
    status = 406
    title = "This cannot be answered in the format asked for"


class BodyTooSlow(Problem):
    type = "body-too-slow"
    status = 408
    title = "The request came too slowly"


class BodyTooLarge(Problem):
    type = "body-too-large"
    status = 413
    title = "The request is too large"


class UnsupportedMediaType(Problem):
    type = "unsupported-media-type"
    status = 415
    title = "This format is not read here"


class TooManyRequests(Problem):
    type = "too-many-requests"
    status = 429
    title = "Too many requests"


class OurMistake(Problem):
    type = "internal-error"
    status = 500
    title = "Something went wrong on our side"


class Overloaded(Problem):
    type = "overloaded"
    status = 503
    title = "The server is busy"


class Unavailable(Problem):
    type = "unavailable"
    status = 503
    title = "A part of the server is away for the moment"


class StorageFull(Problem):
    type = "storage-full"
    status = 507
    title = "The server's disk is full"
