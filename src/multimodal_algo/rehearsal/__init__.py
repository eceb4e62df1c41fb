"""The validation of an algorithm, rehearsed on this machine. Every other promise of the request is checked too."""
