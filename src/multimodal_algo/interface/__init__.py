"""The Python interface: `fit` trains a model on a data frame, `load` opens a trained model, and `Model` predicts."""
