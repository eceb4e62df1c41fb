"""What `_automm_compat` puts right in AutoMM, on its own classes and without a fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from multimodal_algo.predictors.finetune._automm_compat import correct_learner, finish_learner, merge_adaptations

IMAGES = ["image"]


class Learner(SimpleNamespace):
    """Stands for AutoMM's learner."""

    def top_k_average(self) -> None:
        """Note the metric by which checkpoints are sorted."""
        self.sorted_by = self._eval_metric_func


def learner(**values: Any) -> Any:
    defaults = {
        "_eval_metric_func": "scorer",
        "_output_shape": 3,
        "_problem_type": "multiclass",
        "_data_processors": {},
    }
    return Learner(**{**defaults, **values})


def mixing(mode: str, data_types: list[str], **mixup: Any) -> tuple[bool, Any]:
    from autogluon.multimodal.utils.config import get_config

    overrides = {"data.mixup.turn_on": True, "data.mixup.mode": mode, "model.timm_image.data_types": data_types}
    config = get_config(overrides={**overrides, "model.names": ["timm_image"], **mixup})
    corrected = learner()
    correct_learner(corrected)
    return corrected.get_mixup_func_per_run(config=config)  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", ["batch", "elem"])
@pytest.mark.parametrize("kind", ["mixup_alpha", "cutmix_alpha"])
def test_images_and_labels_of_a_batch_are_mixed(mode: str, kind: str) -> None:
    import torch

    other = {"mixup_alpha": "cutmix_alpha", "cutmix_alpha": "mixup_alpha"}[kind]
    is_on, mix = mixing(mode, IMAGES, **{f"data.mixup.{other}": 0.0, "data.mixup.label_smoothing": 0.0})
    assert is_on
    images, labels = torch.rand(4, 1, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    before = images.clone()
    pairs = [mix(images.copy_(before), labels) for _ in range(20)]
    assert all(mixed.shape == before.shape for mixed, _ in pairs)
    for _, soft in pairs:
        torch.testing.assert_close(soft.sum(dim=1), torch.ones(4))
    assert any(float(soft.max(dim=1).values.min()) < 1 for _, soft in pairs)
    mix.mixup_enabled = False
    unmixed, hard = mix(images.copy_(before), labels)
    assert torch.equal(unmixed, before)
    assert hard.argmax(dim=1).tolist() == labels.tolist()


def test_texts_are_not_mixed() -> None:
    assert mixing("batch", ["image", "text"]) == (False, None)


def test_checkpoints_are_sorted_by_the_name_of_the_metric() -> None:
    from autogluon.core.metrics import get_metric
    from autogluon.multimodal.optim.metrics.utils import get_minmax_mode

    assert get_minmax_mode("log_loss") == get_minmax_mode("root_mean_squared_error") == "min"
    assert get_minmax_mode(get_metric("log_loss")) == "max", "AutoMM is right now, so that this can go"
    corrected = learner()
    correct_learner(corrected)
    corrected.top_k_average()
    assert (corrected.sorted_by, corrected._eval_metric_func) == (None, "scorer")


def test_a_compiled_network_is_saved_under_its_own_names() -> None:
    import torch
    from omegaconf import OmegaConf

    network = torch.nn.Linear(2, 2)
    names = list(network.state_dict())
    compile_settings = {"turn_on": True, "mode": "default", "dynamic": True, "backend": "eager"}
    processor = SimpleNamespace(missing_value_strategy="skip")
    corrected = learner(_data_processors={"image": [processor]})
    correct_learner(corrected)
    config = OmegaConf.create({"env": {"compile": compile_settings}})
    corrected._model = corrected.compile_model_per_run(config=config, model=network)
    assert list(corrected._model.state_dict()) == names
    assert network._compiled_call_impl is not None
    finish_learner(corrected)
    assert network._compiled_call_impl is None
    assert processor.missing_value_strategy == "zero"
    assert "top_k_average" not in vars(corrected)


@pytest.mark.parametrize("kind", ["LoRALinear", "IA3Linear", "IA3LoRALinear"])
@pytest.mark.parametrize("bias", [True, False])
def test_an_adapted_layer_becomes_a_plain_one_with_the_same_answers(kind: str, bias: bool) -> None:
    import torch
    from autogluon.multimodal.models import adaptation_layers

    options: dict[str, Any] = {"merge_weights": False} | ({} if kind == "IA3Linear" else {"r": 2, "lora_alpha": 4})
    layer = getattr(adaptation_layers, kind)(5, 3, bias=bias, **options)
    for name, value in layer.named_parameters():
        if name.startswith("lora"):
            torch.nn.init.normal_(value)
    network = torch.nn.Sequential(layer)
    inputs = torch.randn(4, 5)
    expected = network(inputs)
    merge_adaptations(SimpleNamespace(_model=network, _config=SimpleNamespace(optim=SimpleNamespace(peft=kind))))
    assert type(network[0]) is torch.nn.Linear
    assert set(network.state_dict()) == ({"0.weight", "0.bias"} if bias else {"0.weight"})
    torch.testing.assert_close(network(inputs), expected)
