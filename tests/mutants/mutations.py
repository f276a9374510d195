"""Bugs that somebody could plant, and the tests that must notice them.

Each takes a text that stands exactly once in its file and puts another in its place. `make mutants` does that
in a copy of the tree, one at a time, and runs the named tests: at least one must fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PUSHING = "tests/sync/push/test_pushing.py"
TOGETHER = "tests/sync/push/test_together.py"
STRIKES = "tests/fuzz/test_strikes.py"
API = "tests/sync/test_api.py"
FEED = "tests/sync/pull/test_feed.py"
SCOPES = "tests/sync/pull/test_scopes.py"
CORE = "tests/sync/core"
ROLES = "tests/test_role_matrix.py"


@dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS: Final = (
    # Writing
    Mutation(
        "read the head without its lock", "sync/writing.py",
        "WHERE space_id = %b FOR UPDATE", "WHERE space_id = %b", (TOGETHER,),
    ),
    Mutation(
        "write without a transaction", "sync/writing.py",
        "    with transaction.atomic():\n        cur = cursor()", "    if True:\n        cur = cursor()", (TOGETHER,),
    ),
    Mutation(
        "acknowledge what was not committed", "sync/push/__init__.py",
        "            return store(changes, merge_changes(changes, validated))\n    except",
        "            stored = store(changes, merge_changes(changes, validated))\n        return stored\n"
        "    except Exception:\n        if 'stored' not in locals():\n            raise\n        return stored\n"
        "    except",
        (STRIKES,),
    ),
    Mutation(
        "forget the announcement", "sync/writing.py",
        "    transaction.on_commit(lambda: announce_head(changes.space_id, changes.version), robust=True)\n", "",
        (TOGETHER,),
    ),
    Mutation(
        "announce before the commit", "sync/writing.py",
        "transaction.on_commit(lambda: announce_head(changes.space_id, changes.version), robust=True)",
        "announce_head(changes.space_id, changes.version)", (TOGETHER,),
    ),
    # Who may
    Mutation(
        "do not ask again for the right to write",
        "sync/push/__init__.py",
        "open_space(caller, space_id, Act.WRITE)",
        "_check_life(changes, validated)",
        (TOGETHER,),
    ),
    Mutation(
        "let whoever knows of a space read it", "workspaces/access.py",
        "    if may(need, space.role, manages=space.manages):",
        "    if need is Act.READ or may(need, space.role, manages=space.manages):", (ROLES,),
    ),
    Mutation(
        "show private spaces to the workspace", "workspaces/access.py",
        "    WHERE {which} AND (s.kind = 'shared' OR s.owner_id = {person})\"\"\"", "    WHERE {which}\"\"\"", (ROLES,),
    ),
    Mutation(
        "let revoked devices in", "workspaces/signing_in.py",
        "    if not valid:\n        raise DeviceRevoked\n", "", ("tests/workspaces",),
    ),
    # Reading
    Mutation(
        "order the feed by id", "sync/pull/reading.py",
        "c ORDER BY version, key LIMIT", "c ORDER BY key, version LIMIT", (FEED,),
    ),
    Mutation(
        "give a cursor from a head read apart", "sync/pull/reading.py",
        "version = max(head, cursor.version)", "version = read_head(cursor.space_id).head", (TOGETHER,),
    ),
    Mutation(
        "read on past the moment", "sync/pull/reading.py",
        "AND t.version <= %(until)b::int8 ORDER BY", "AND 0 < %(until)b::int8 ORDER BY", (TOGETHER,),
    ),
    Mutation(
        "send tombstones in a first pull", "sync/pull/reading.py",
        '" AND (NOT t.deleted OR t.version > %(fresh)b::int8)"', '""', (API,),
    ),
    Mutation(
        "trust any cursor", "sync/pull/cursors.py",
        "if not body or not hmac.compare_digest(_sum(body), raw[:_SUM_BYTES]):", "if not body:", (FEED,),
    ),
    Mutation(
        "overlook a restored server", "sync/pull/continuing.py",
        "if cursor.version > head.head or (cursor.made_at and cursor.made_at != head.made_at):",
        "if cursor.version > head.head:", (API,),
    ),
    Mutation(
        "overlook a cloned device", "sync/pull/continuing.py",
        "if remembered is not None and remembered > cursor.place:", "if False:", (API,),
    ),
    Mutation(
        "leak what is out of scope", "sync/pull/scoped.py",
        '    if holder is None:\n        return "true"\n    if type_ == "thoughts":', '    if True:\n        return "true"\n    if type_ == "thoughts":',
        (SCOPES,),
    ),
    Mutation(
        "count the deleted in the digest", "sync/digest.py",
        'AND NOT t.deleted AND {condition(table.type.name, scope)}"\n        " GROUP BY',
        'AND {condition(table.type.name, scope)}"\n        " GROUP BY', (FEED,),
    ),
    Mutation(
        "hash without extra", "sync/core/records.py",
        'document = {"type": type_, "id": id_, **record}',
        'document = {"type": type_, "id": id_, **{k: v for k, v in record.items() if k != "extra"}}', (CORE,),
    ),
    # Merging
    Mutation(
        "do not look at the receipts", "sync/push/merging.py",
        "elif (receipt := self._receipts.get(change.change_id)) is not None:", "elif (receipt := None) is not None:",
        (PUSHING,),
    ),
    Mutation(
        "take another body under an old change id", "sync/push/merging.py",
        "if body_hash != change.body_hash:", "if False:", (PUSHING,),
    ),
    Mutation(
        "drop the client's value from a conflict", "sync/core/merging.py",
        '{"base": base, "server": current, "client": wanted}', '{"base": base, "server": current, "client": current}',
        (PUSHING,),
    ),
    Mutation(
        "drop the lost value from the history", "sync/core/merging.py",
        "        merged.lost[path] = wanted\n", "", (PUSHING,),
    ),
    Mutation(
        "take every field as not concurrent", "sync/core/merging.py",
        "if base < stored.version else set()", "if base < 0 else set()", (PUSHING,),
    ),
    Mutation(
        "prefer the earlier time", "sync/core/merging.py",
        "or wanted > current)", "or wanted < current)", (PUSHING,),
    ),
    Mutation(
        "merge two edits of one sentence", "sync/core/text.py",
        "        return self.start < other.end and other.start < self.end\n", "        return False\n", (CORE, PUSHING),
    ),
    Mutation(
        "say applied where something was merged", "sync/push/merging.py",
        "if version_before == change.base and merged.as_sent:", "if merged.as_sent:", (PUSHING,),
    ),
    Mutation(
        "leave a child unstamped in a cascade", "sync/push/merging.py",
        '            self._stamp(child, "delete")\n', '            if child is node:\n                self._stamp(child, "delete")\n',
        (PUSHING,),
    ),
    Mutation(
        "ignore seen in a deletion", "sync/push/merging.py",
        "*self._changed_after(self.seen, below),", "*self._changed_after(change.base, below),", (TOGETHER,),
    ),
    Mutation(
        "ignore seen of a new child", "sync/push/merging.py",
        "return node.stored.version <= self.seen or node.stored.version == self.version",
        "return node.stored.version == self.version", (PUSHING,),
    ),
    Mutation(
        "count layout as content", "sync/core/merging.py",
        "if path != DELETED and not is_layout(type_, path))", "if path != DELETED)", (PUSHING,),
    ),
    Mutation(
        "revive what an earlier deletion took", "sync/push/merging.py",
        "child.stored.cascaded and child.stored.version in deletions", "child.stored.cascaded", (PUSHING,),
    ),
    Mutation(
        "let the second decision about a conflict count", "sync/push/merging.py",
        'if conflict.state != "open":', "if False:", (PUSHING,),
    ),
    Mutation(
        "unpack without a limit", "sync/push/receiving.py",
        "                out += block\n                _check_size(out)\n", "                out += block\n", (API,),
    ),
)  # fmt: skip
