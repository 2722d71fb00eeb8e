"""Tier B (stand-in until the next commit)."""
