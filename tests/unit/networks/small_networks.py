"""Small random networks for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "lamp", "much", "longer", "text", "of", "words"]


def write_text_network(directory: Path) -> Path:
    """Write a small random sentence-transformers model."""
    torch.manual_seed(0)
    (directory / "1_Pooling").mkdir(parents=True)
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)
    config = BertConfig(
        vocab_size=500, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128
    )
    BertModel(config).save_pretrained(directory)
    steps = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{step}"}
        for number, (path, step) in enumerate(steps.items())
    ]
    pooling = {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True}
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    return directory
