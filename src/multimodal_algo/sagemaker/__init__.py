"""SageMaker's contract and nothing else: paths, config files, environment, devices, signals. See README.md."""
