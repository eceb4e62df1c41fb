"""Frozen text networks: which there are, how their files are read, and how texts become tokens and vectors."""
