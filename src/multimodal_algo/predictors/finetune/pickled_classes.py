"""The classes that AutoMM's pickles may name: its preparation of columns, and the metric of a fit.

AutoMM's networks are not pickles of this kind. It reads their weights with ``torch.load(weights_only=True)``.
"""

from __future__ import annotations

from multimodal_algo.predictors.pickles import Admitted

AUTOMM: Admitted = {
    "autogluon.multimodal.data.label_encoder": "CustomLabelEncoder NumericLabelEncoder",
    "autogluon.multimodal.data.preprocess_dataframe": "MultiModalFeaturePreprocessor",
    "autogluon.multimodal.data.process_categorical": "CategoricalProcessor",
    "autogluon.multimodal.data.process_image": "ImageProcessor",
    "autogluon.multimodal.data.process_label": "LabelProcessor",
    "autogluon.multimodal.data.process_numerical": "NumericalProcessor",
    "autogluon.multimodal.data.process_text": "TextProcessor",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode",
    "torchvision.transforms.functional": "InterpolationMode",
    "torchvision.transforms.transforms": (
        "CenterCrop ColorJitter Compose Normalize RandomAffine RandomHorizontalFlip RandomResizedCrop "
        "RandomVerticalFlip Resize ToTensor"
    ),
    "typing": "Any",
}
