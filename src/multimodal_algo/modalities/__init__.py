"""One AutoGluon model per modality, all behind the protocol of `modalities.base`."""
