"""A whole client in a page: it pulls a space into a dictionary, edits a title, and pulls again.

    SERVER=http://localhost:8000 TOKEN=lm_… python sync_a_space.py SPACE [THOUGHT "New title"]

Needs nothing but Python. The protocol is in docs/sync-protocol.md; what a client for every day needs beside
this (keep unsent changes on disk, apply while the user writes, live events) stands there too.
"""

import json
import os
import sys
import urllib.request
import uuid

API = f"{os.environ['SERVER'].rstrip('/')}/api/v1"


def ask(path, body=None):
    """The answer of the server as JSON."""
    request = urllib.request.Request(
        f"{API}{path}", headers={"Authorization": f"Token {os.environ['TOKEN']}"}
    )
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, data) as answer:
        return json.load(answer)


def pull(space, state):
    """Bring `state` up to date: {"records": {(type, id): record}, "cursor", "epoch", "seen"}."""
    while True:
        query = f"?cursor={state['cursor']}" if state["cursor"] else ""
        page = ask(f"/spaces/{space}/changes{query}")
        for change in page["changes"]:
            key = (change["type"], change["id"])
            if "record" in change:
                state["records"][key] = change["record"]
            else:  # deleted, or out of scope
                state["records"].pop(key, None)
        state.update(cursor=page["cursor"], epoch=page["epoch"], seen=page["head"])
        if not page["more"]:
            return


def push(space, state, type_, id_, fields):
    """Send one edit, made on what was pulled. The same change_id sent again counts once."""
    base = state["records"].get((type_, id_), {}).get("version", 0)
    change = {"change_id": str(uuid.uuid4()), "type": type_, "id": id_, "base": base, "set": fields}
    body = {"epoch": state["epoch"], "seen": state["seen"], "changes": [change]}
    return ask(f"/spaces/{space}/changes", body)["results"][0]


def main():
    space, *edit = sys.argv[1:]
    state = {"records": {}, "cursor": None, "epoch": None, "seen": 0}
    pull(space, state)
    for (type_, id_), record in sorted(state["records"].items()):
        if type_ == "thoughts":
            print(f"{id_}\t{record['title']}")
    if edit:
        print(push(space, state, "thoughts", edit[0], {"title": edit[1]})["status"])
        pull(space, state)


if __name__ == "__main__":
    main()
