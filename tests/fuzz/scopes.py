"""The filters of selective sync, and what each chooses: by dictionaries and loops, like all of the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.fuzz.hands import CLUSTERS, TAG_NAMES
from tests.fuzz.kinds import KINDS, Ref
from tests.fuzz.oracle import Space

FOLLOWS: Final = {
    "thought_tags": ("thoughts", "thought_id"),
    "segments": ("thoughts", "thought_id"),
    "segment_tags": ("segments", "segment_id"),
    "segment_fields": ("segments", "segment_id"),
    "segment_neighbors": ("segments", "source_id"),
    "segment_related_context": ("segments", "segment_id"),
    "segment_llm_history": ("segments", "segment_id"),
}
"""Type -> of which record, named by which field, it shares the fate. A link follows its source."""


@dataclass(frozen=True)
class Scope:
    tags: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    after: str = ""
    before: str = ""

    def query(self) -> list[tuple[str, str]]:
        pairs = [("tag", tag) for tag in self.tags] + [("cluster", cluster) for cluster in self.clusters]
        pairs += [("updated_after", self.after)] if self.after else []
        pairs += [("updated_before", self.before)] if self.before else []
        return pairs or [("scope", "all")]

    def chosen(self, space: Space) -> dict[Ref, dict[str, Any]]:
        """What it chooses of a space, in feed form."""
        live = {record.ref: record for record in space.live()}
        tagged, clustered = set(), set()
        for ref, it in live.items():
            if ref[0] == "thought_tags" and it.values["tag_id"] in self.tags:
                tagged.add(it.values["thought_id"])
            elif ref[0] == "segments" and it.values.get("cluster_id") in self.clusters:
                clustered.add(it.values.get("thought_id"))
        inside = {
            ref
            for ref, it in live.items()
            if ref[0] == "thoughts"
            and (not self.tags or ref[1] in tagged)
            and (not self.clusters or ref[1] in clustered)
            and (not self.after or (it.values.get("updated_at") or "") > self.after)
            and (not self.before or "" < (it.values.get("updated_at") or "") < self.before)
        }
        for type_ in KINDS:  # parents come before what hangs on them
            if type_ in FOLLOWS:
                parent, name = FOLLOWS[type_]
                inside |= {
                    ref
                    for ref, it in live.items()
                    if ref[0] == type_ and (parent, it.values.get(name)) in inside
                }
        return {ref: it.in_feed_form() for ref, it in live.items() if ref in inside or ref[0] == "tags"}


ALL: Final = Scope()


def any_scope(chance: Random) -> Scope:
    """A filter as people choose them; now and then none at all."""
    if chance.random() < 0.1:
        return ALL
    tags = chance.sample(TAG_NAMES, chance.randint(1, 2)) if chance.random() < 0.5 else ()
    clusters = chance.sample(CLUSTERS, chance.randint(1, 2)) if chance.random() < 0.3 else ()
    year = chance.randrange(20, 30)
    return Scope(
        tuple(f"tag_{name}" for name in tags),
        tuple(clusters),
        f"20{year}-01-01T00:00:00Z" if chance.random() < 0.3 else "",
        f"20{year + chance.randint(1, 5)}-05-15T00:00:00.5Z" if chance.random() < 0.2 else "",
    )
