"""Keeping a file and its spaces in step: one round, and the agent that goes on."""

from logomesh_client.file.links import State
from logomesh_client.sync.agent import Agent
from logomesh_client.sync.rounds import Report, SpaceReport, sync_once

__all__ = ["Agent", "Report", "SpaceReport", "State", "sync_once"]
