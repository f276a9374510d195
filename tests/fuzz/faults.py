"""The points of a push at which it can be struck down, and who is killed there (see `faulty`)."""

from typing import Final

POINTS: Final = ("before-lock", "after-lock", "after-write", "before-announce", "before-answer")
VICTIMS: Final = ("web", "database")
