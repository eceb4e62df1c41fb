"""The SageMaker simulator: it runs training and batch transform jobs here, as SageMaker would, without an AWS account.

It starts the real programs ``train`` and ``serve``, either as plain processes or in a container image. The only part of
the algorithm that it knows is the description of an artifact.
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
