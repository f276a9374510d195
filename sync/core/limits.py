"""Every limit of the protocol, in one place. `GET /api/v1/about` publishes them."""

from typing import Final

MAX_CHANGES: Final = 1_000  # changes in one push
MAX_PUSH_BYTES: Final = 32 * 1024 * 1024  # unpacked body of a push with several changes
MAX_RECORD_BYTES: Final = 256 * 1024 * 1024  # unpacked body of a push with a single change
MAX_ID_CHARACTERS: Final = 1_024  # of an id, or of each part of a composed id
MAX_DEPTH: Final = 100  # nesting of a JSON body
MAX_INTEGER: Final = 2**53 - 1  # beyond it, JSON readers disagree about the number
DEFAULT_PAGE: Final = 1_000  # records in a page of the feed
MAX_PAGE: Final = 10_000
MAX_PAGE_BYTES: Final = 8 * 1024 * 1024  # a page ends early once it holds this much
MAX_MERGED_TEXT: Final = 2 * 1024 * 1024  # characters; a longer text is not merged but kept as a conflict
