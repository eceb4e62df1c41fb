"""The platform's contract: paths, config files, environment. Nothing else in the code knows ``/opt/ml``."""
