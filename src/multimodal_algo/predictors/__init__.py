"""Predictors that fit a branch and answer for it."""
