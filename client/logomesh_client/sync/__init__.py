"""Keeping a file and its spaces in step: one round, and the agent that goes on.

`sync_once(file, server, spaces=None) -> Report` pushes, pulls, applies and proves; it never raises for what
a network or a server may do: that is a state (`file.link(space).state`) with a reason.
`Agent(file, server, …).run()` does so whenever the file or a space has changed.
"""
