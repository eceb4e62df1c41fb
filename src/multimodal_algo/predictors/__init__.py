"""Predictors: they fit the models of a branch and predict its rows."""
