"""Branches: models of one modality or of several, each with its own vote in the fusion."""
