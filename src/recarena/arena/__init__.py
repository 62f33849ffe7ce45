"""Runs a contender behind the wall: discovery, environments, the keeper of the answers, the runner."""
