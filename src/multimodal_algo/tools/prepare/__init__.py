"""Makes training files and inference lines from tables and folders of images."""

from multimodal_algo.tools.prepare.data import Prepared, prepare_data
from multimodal_algo.tools.prepare.images import ImageRules

__all__ = ["ImageRules", "Prepared", "prepare_data"]
