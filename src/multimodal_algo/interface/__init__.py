"""The Python interface: `fit` trains a model on a data frame, `load` opens an artifact, `Model` predicts."""
