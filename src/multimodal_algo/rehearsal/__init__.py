"""The rehearsal: it runs on this machine what SageMaker runs to validate an algorithm, before the algorithm is created.

It also checks everything else that the ``CreateAlgorithm`` request declares, for example each content type.
"""
