"""Frozen text networks: which exist, how their files are read, and how texts become tokens and vectors."""
