"""Values and rules that every part of the package shares. Nothing here imports another folder."""
