"""The pure heart of sync: what a record is, how two edits of it merge, what its bytes are.

Nothing in here knows Django, a clock or a socket, so every rule can be tried a
million times by property tests. Values are plain JSON values in *feed form*, the
form in which a record travels (see ``docs/sync-protocol.md``).
"""
