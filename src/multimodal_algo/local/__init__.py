"""The SageMaker simulator: training and batch transform with the platform's rules, without an AWS account.

Programs run as plain processes, or in a container image. Nothing of the algorithm is imported here: the real
``train`` and ``serve`` are started as the platform starts them.
"""

from multimodal_algo.local.job import TransformJob
from multimodal_algo.local.records import BatchStrategy, SplitType
from multimodal_algo.local.training import TrainingJob, train
from multimodal_algo.local.transform import transform
from multimodal_algo.local.tree import Channel, InputMode

__all__ = [
    "BatchStrategy",
    "Channel",
    "InputMode",
    "SplitType",
    "TrainingJob",
    "TransformJob",
    "train",
    "transform",
]
