"""The contract of the platform and nothing else: paths, config files, environment, devices, signals. See README.md."""
