"""What a program may ask of a place where thoughts are kept: the operations of LogoMesh's own StorageAdapter.

The same program runs on a file, on a server, or on a file that a server keeps in step. All shapes are
LogoMesh's: objects with `id`, `title`, `segments`, `tags`, and so on; a member without a value is left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict


class Tag(TypedDict):
    name: str
    color: NotRequired[str | None]


class Position(TypedDict, total=False):
    x: float | None
    y: float | None


class NewThought(TypedDict, total=False):
    """What a thought is made of; only `title` is needed. For an update: what is to change."""

    id: str
    title: str
    description: str | None
    color: str | None
    tags: list[Tag]
    position: Position
    fields: dict[str, Any]
    metadata: dict[str, Any]


class NewSegment(TypedDict, total=False):
    """What a segment is made of; only `content` is needed. For an update: what is to change."""

    id: str
    title: str
    content: str
    content_type: str
    asset_path: str
    fields: dict[str, Any]
    metadata: dict[str, Any]
    abstraction_level: str
    local_priority: float
    cluster_id: str


class Segment(TypedDict):
    segment_id: str
    thought_bubble_id: str
    title: NotRequired[str]
    content: str
    content_type: NotRequired[str]
    asset_path: NotRequired[str]
    abstraction_level: NotRequired[str]
    local_priority: NotRequired[float]
    cluster_id: NotRequired[str]
    sort_order: NotRequired[float]
    fields: dict[str, Any]
    metadata: dict[str, Any]
    created_at: str
    updated_at: str


class Thought(TypedDict):
    id: str
    title: str
    description: NotRequired[str]
    color: NotRequired[str]
    position: NotRequired[Position]
    tags: list[Tag]
    segments: list[Segment]
    fields: dict[str, Any]
    metadata: dict[str, Any]
    created_at: str
    """ISO 8601 in UTC with milliseconds, as LogoMesh writes it."""
    updated_at: str


class Health(TypedDict):
    status: Literal["ok", "error"]
    message: NotRequired[str]


class NotOpen(Exception):
    """The adapter was not initialized, or is closed."""

    def __init__(self) -> None:
        super().__init__("The storage is not open: call initialize() first.")


class NoSuchThought(LookupError):
    """A segment was to be made for a thought that is not there."""

    def __init__(self, thought_id: str) -> None:
        super().__init__(f"There is no thought {thought_id!r}.")
        self.thought_id = thought_id


class AlreadyThere(ValueError):
    """Something was to be made under an id that is in use."""

    def __init__(self, kind: str, id_: str) -> None:
        super().__init__(f"There is already a {kind} {id_!r}.")
        self.id = id_


class InvalidValue(ValueError):
    """A value that no thought or segment can have, wherever it is kept. Nothing was written."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name} cannot have this value: {words}.")
        self.name = name


class CannotHold(ValueError):
    """This version of a LogoMesh file has no column for something. Nothing was written."""

    def __init__(self, dialect: str, kind: str, names: list[str]) -> None:
        super().__init__(
            f"A LogoMesh file of version {dialect} has no place for a {kind}'s {', '.join(names)}."
        )
        self.names = names


class StorageAdapter(ABC):
    """A place where thoughts are kept. For one thread, unless an adapter says otherwise."""

    @abstractmethod
    def initialize(self) -> None:
        """Open it. Every other operation but `health_check` raises `NotOpen` before."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything. Closing twice does no harm."""

    @abstractmethod
    def health_check(self) -> Health:
        """Whether it can be used, and what is wrong if not. Never raises."""

    @abstractmethod
    def get_all_thoughts(self) -> list[Thought]:
        """Newest first, each with its tags and segments."""

    @abstractmethod
    def get_thought_by_id(self, thought_id: str) -> Thought | None: ...

    @abstractmethod
    def create_thought(self, data: NewThought) -> Thought:
        """Raises `AlreadyThere`; `InvalidValue`; ValueError without a title."""

    @abstractmethod
    def update_thought(self, thought_id: str, updates: NewThought) -> Thought | None:
        """Change what is named; tags, where named, replace all that there were. None: no such thought.
        Raises `InvalidValue`."""

    @abstractmethod
    def delete_thought(self, thought_id: str) -> bool:
        """Take it away with all that hangs on it. False: there was none."""

    @abstractmethod
    def get_segments_for_thought(self, thought_id: str) -> list[Segment]:
        """Oldest first."""

    @abstractmethod
    def get_segment_by_id(self, segment_id: str) -> Segment | None: ...

    @abstractmethod
    def create_segment(self, thought_id: str, data: NewSegment) -> Segment:
        """Raises `NoSuchThought`, `AlreadyThere`; `InvalidValue`; ValueError without content."""

    @abstractmethod
    def update_segment(self, thought_id: str, segment_id: str, updates: NewSegment) -> Segment | None:
        """Change what is named. None: this thought has no such segment. Raises `InvalidValue`."""

    @abstractmethod
    def delete_segment(self, thought_id: str, segment_id: str) -> bool:
        """False: this thought has no such segment."""

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
