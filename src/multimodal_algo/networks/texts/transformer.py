"""A text network made of a transformer, which gives a vector per token, and steps that make one vector per text."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from multimodal_algo.networks.texts.quantised import quantise_structure

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""The poolings of sentence-transformers, in the order in which it joins several of them."""

OUTPUTS = ("text_embeds", "pooler_output")
"""Outputs of a network of transformers that are vectors of texts already, for example those of CLIP."""


@dataclass(frozen=True)
class DenseStep:
    """A dense layer after the pooling.

    Parameters
    ----------
    entries, width
        Number of entries of a vector before and after the layer.
    bias
        Whether the layer has a bias.
    activation
        Name of the activation in ``torch.nn``.
    """

    entries: int
    width: int
    bias: bool = True
    activation: str = "Tanh"


@dataclass(frozen=True)
class TransformerPlan:
    """The structure of a `TextTransformer`, as a description stores it.

    Parameters
    ----------
    architecture
        Name of the class in transformers, for example ``BertModel``.
    config
        Configuration of this class as a dictionary, with ``model_type``.
    pooling
        Ways to make one vector of all token vectors, see `POOLINGS`. The vectors of several ways are joined. Or one of
        `OUTPUTS`.
    dense
        Dense layers after the pooling.
    normalised
        Whether vectors are scaled to length 1.
    quantised
        Whether weights have 4 bits.
    """

    architecture: str
    config: Mapping[str, Any]
    pooling: Sequence[str] = ("mean",)
    dense: Sequence[DenseStep] = ()
    normalised: bool = False
    quantised: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TransformerPlan:
        """Make a plan from the dictionary that `as_dict` has returned."""
        return cls(**{**values, "dense": tuple(DenseStep(**step) for step in values["dense"])})

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as a dictionary that JSON can hold."""
        return asdict(self)

    def build(self) -> TextTransformer:
        """Build the network. Its weights have no values yet."""
        import transformers
        from transformers.initialization import no_init_weights

        config = transformers.AutoConfig.for_model(**self.config)
        with no_init_weights():
            network = getattr(transformers, self.architecture)(config)
        return TextTransformer(quantise_structure(network) if self.quantised else network, self)


class TextTransformer(nn.Module):
    """A transformer with the steps that make one vector per text.

    Parameters
    ----------
    network
        Network of the library transformers.
    plan
        Description of the network and of the steps after it.
    """

    def __init__(self, network: Any, plan: TransformerPlan) -> None:
        super().__init__()
        self.plan = plan
        self.network = network
        if plan.pooling[0] not in OUTPUTS and "add_pooling_layer" in inspect.signature(type(network)).parameters:
            network.pooler = None  # its vector is not used
        self.dense = nn.ModuleList(nn.Linear(step.entries, step.width, bias=step.bias) for step in plan.dense)
        self._activations = [getattr(nn, step.activation)() for step in plan.dense]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return a vector for each text, float32 (texts, width). Both arguments are (texts, tokens).

        `attention_mask` is 0 for padding.
        """
        outputs = self.network(input_ids=input_ids, attention_mask=attention_mask)
        if self.plan.pooling[0] in OUTPUTS:
            vectors = outputs[self.plan.pooling[0]]
        else:
            states = outputs.last_hidden_state
            vectors = torch.cat([_pool(name, states, attention_mask) for name in self.plan.pooling], dim=-1)
        for layer, activation in zip(self.dense, self._activations, strict=True):
            vectors = activation(layer(vectors))
        return functional.normalize(vectors, dim=-1) if self.plan.normalised else vectors


def _pool(name: str, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return one vector per text, pooled as sentence-transformers does it under this name. Padding is on the right."""
    mask = attention_mask.unsqueeze(-1).to(states.dtype)
    if name == "cls":
        return states[:, 0]
    if name == "max":
        return states.masked_fill(mask == 0, float("-inf")).amax(dim=1)
    if name == "lasttoken":
        is_last = mask - functional.pad(mask[:, 1:], (0, 0, 0, 1))
        return (states * is_last).sum(dim=1)
    if name == "weightedmean":
        mask = mask * mask.cumsum(dim=1)
    count = mask.sum(dim=1)
    return (states * mask).sum(dim=1) / (count.sqrt() if name == "mean_sqrt_len_tokens" else count)
