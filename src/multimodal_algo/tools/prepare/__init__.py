"""Data preparation: tables and folders of images to training files and inference lines."""

from multimodal_algo.tools.prepare.data import Prepared, prepare_data
from multimodal_algo.tools.prepare.images import ImageRules

__all__ = ["ImageRules", "Prepared", "prepare_data"]
