"""Cells of exported fine-tuned networks become the arrays that AutoMM makes of them."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multimodal_algo.core.task import Task
from multimodal_algo.predictors.finetune.inputs import CategoryInput, NumberInput, PictureInput, TextInput
from multimodal_algo.predictors.finetune.prediction import Outputs

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "thing"]
TEXTS = pd.DataFrame({"a_text": ["red thing " * 9, "", "green"], "b_text": ["thing", "red green", None]})


def jpeg(width: int, height: int, seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import BertTokenizer

    directory = tmp_path_factory.mktemp("words")
    (directory / "vocab.txt").write_text("\n".join(WORDS))
    return BertTokenizer(str(directory / "vocab.txt"))


@pytest.mark.parametrize(("max_tokens", "segments", "separates"), [(64, 2, True), (9, 2, True), (9, 1, False)])
def test_texts_become_automms_sequences(
    tokenizer: Any, tmp_path: Path, max_tokens: int, segments: int, separates: bool
) -> None:
    from autogluon.multimodal.data.process_text import TextProcessor
    from omegaconf import OmegaConf

    model = SimpleNamespace(
        prefix="hf_text", tokenizer_name="bert", tokenizer=tokenizer, max_text_len=max_tokens, text_segment_num=segments
    )
    processor = TextProcessor(model, insert_sep=separates, template_config=OmegaConf.create({"turn_on": False}))
    tokenizer.save_pretrained(tmp_path / "hf_text")
    read = TextInput(
        network="hf_text", columns=("a_text", "b_text"), max_tokens=max_tokens, segments=segments,
        first=processor.cls_token_id, separator=processor.sep_token_id if separates else None,
        last=processor.eos_token_id, padding=0,
    ).reader(tmp_path)  # fmt: skip
    found = read(TEXTS)
    for row, cells in enumerate(TEXTS.fillna("").to_dict("records")):
        expected = processor(cells, {}, is_training=False)
        length = expected["hf_text_text_valid_length"]
        assert found["hf_text_text_valid_length"][row] == length
        for name in ("hf_text_text_token_ids", "hf_text_text_segment_ids"):
            np.testing.assert_array_equal(found[name][row, :length], expected[name])
            assert not found[name][row, length:].any()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_the_longest_columns_are_cut_as_by_automm(lengths: list[int], most: int) -> None:
    from autogluon.multimodal.data.process_text import TextProcessor

    from multimodal_algo.predictors.finetune.inputs import _trimmed

    assert _trimmed(lengths, most) == TextProcessor.get_trimmed_lengths(lengths, most, do_merge=True)


@pytest.mark.parametrize("steps", [["resize_to_square"], ["resize_shorter_side", "center_crop"]])
@pytest.mark.parametrize("size", [(90, 61), (61, 90), (32, 32), (20, 31)])
def test_images_become_automms_pixels(tmp_path: Path, steps: list[str], size: tuple[int, int]) -> None:
    from autogluon.multimodal.data.process_image import ImageProcessor

    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    model = SimpleNamespace(prefix="timm_image", image_size=32, image_mean=mean, image_std=std)
    processor = ImageProcessor(model, steps, steps, max_image_num_per_column=2)
    cell = [jpeg(*size, seed=0), jpeg(*size, seed=1)]
    expected = processor({"a_image": cell}, {"a_image": "image_bytearray"}, is_training=False)
    read = PictureInput(
        network="timm_image", columns=("a_image",), side=32, crops="center_crop" in steps, most=2, mean=mean, std=std
    ).reader(tmp_path)
    found = read(pd.DataFrame({"a_image": [cell, None]}))
    assert found["timm_image_image_valid_num"].tolist() == [2, 0]
    pixels = (found["timm_image_image"][0] / 255 - mean) / std
    np.testing.assert_allclose(pixels.transpose(0, 3, 1, 2), expected["timm_image_image"].numpy(), atol=1e-5)
    assert not found["timm_image_image"][1].any()


def test_numbers_are_filled_and_standardised(tmp_path: Path) -> None:
    read = NumberInput(network="n", columns=("a_num", "b_num"), fill=(3, 0), mean=(1, 0), scale=(2, 1)).reader(tmp_path)
    table = pd.DataFrame({"a_num": [5.0, np.nan], "b_num": [7.0, -1.0]})
    assert read(table)["n_numerical"].tolist() == [[2, 7], [1, -1]]


def test_unknown_and_missing_categories_share_a_number(tmp_path: Path) -> None:
    read = CategoryInput(network="c", columns=("a_cat",), values=(("red", "green"),)).reader(tmp_path)
    table = pd.DataFrame({"a_cat": ["green", "blue", None, "red"]})
    assert read(table)["c_categorical"].tolist() == [[1], [2], [2], [0]]


def test_a_class_that_was_not_learned_gets_nothing() -> None:
    logits = np.array([[0.0, 0.0], [np.log(3), 0.0]], dtype=np.float32)
    found = Outputs(labels=(2, 0)).predictions(logits, Task.of_classes(3))
    np.testing.assert_allclose(found, [[0.5, 0, 0.5], [0.25, 0, 0.75]], atol=1e-6)


def test_the_outputs_of_a_regression_are_scaled() -> None:
    found = Outputs(mean=10.0, scale=2.0).predictions(
        np.array([[0.5], [np.nan]], dtype=np.float32), Task("regression", 1)
    )
    assert found.tolist() == [[11.0], [0.0]]
