"""Branches: models of one modality or of several. The fusion gets one vote from each branch."""
