"""The SageMaker simulator: training and batch transform jobs by the platform's rules, without an AWS account.

The simulator starts the real ``train`` and ``serve`` as the platform does: as plain processes, or in a container image.
It imports nothing of the algorithm.
"""

from multimodal_algo.config.transform import (
    AssembleWith,
    BatchStrategy,
    CompressionType,
    JoinSource,
    SplitType,
    TransformSettings,
)
from multimodal_algo.local.training import TrainingJob, train
from multimodal_algo.local.transform import transform
from multimodal_algo.local.tree import ChannelData, InputMode

__all__ = [
    "AssembleWith",
    "BatchStrategy",
    "ChannelData",
    "CompressionType",
    "InputMode",
    "JoinSource",
    "SplitType",
    "TrainingJob",
    "TransformSettings",
    "train",
    "transform",
]
