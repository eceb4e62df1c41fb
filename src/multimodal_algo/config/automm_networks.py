"""Which fine-tuned branches the dotted hyperparameters of AutoMM ask for, and which of the keys each branch gets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from multimodal_algo.config.automm_keys import NAMES, NETWORKS, family_of, is_fusion, modalities_of, network_of
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality

_DEFAULT_NETWORK = {
    Modality.TEXT: "hf_text",
    Modality.IMAGE: "timm_image",
    Modality.NUM: "ft_transformer",
    Modality.CAT: "ft_transformer",
}
_CLIP = "clip"
# Beginnings of keys that change nothing where a fit sees one modality.
_OF_ALL_COLUMNS = (
    *(f"model.{network}." for network in NETWORKS if not {Modality.TEXT, Modality.IMAGE} & {*NETWORKS[network]}),
    "data.categorical.",
    "data.numerical.",
    "data.modality_dropout",
    "optim.cross_modal_align",
    "optim.lemda.",
)
_OF_ONE = {Modality.TEXT: ("data.text.",), Modality.IMAGE: ("data.image.", "data.mixup.")}
_HYPERPARAMETER = {Modality.TEXT: "text_hyperparameters", Modality.IMAGE: "image_hyperparameters"}


@dataclass(frozen=True)
class NetworkKeys:
    """The dotted hyperparameters of AutoMM that a user has set for text columns and for image columns.

    Parameters
    ----------
    text, image
        The value of each key, checked by `check_networks`.
    """

    text: Mapping[str, Any]
    image: Mapping[str, Any]

    def asks_for(self, modalities: Collection[Modality]) -> bool:
        """Return whether the keys ask for the branch that fine-tunes networks on columns of these modalities."""
        if len(modalities) > 1:
            return self._is_joint(Modality.TEXT) or self._is_joint(Modality.IMAGE) or self._is_clip_of_both
        if self._is_clip_of_both:
            return False
        return any(self._asks_alone(modality) for modality in modalities)

    def settings_of(self, modalities: Collection[Modality]) -> dict[str, Any]:
        """Return the keys for the branch that fine-tunes networks on columns of these modalities."""
        if len(modalities) == 1:
            (modality,) = modalities
            values = self._values(modality)
            return values if NAMES in values else _of_one_modality(values)
        names = self._joint_names()
        return {**self._values(Modality.TEXT), **self._values(Modality.IMAGE), **({NAMES: names} if names else {})}

    def _values(self, modality: Modality) -> dict[str, Any]:
        """Return the keys for a modality. A key of the network CLIP also adds CLIP to the names of networks."""
        values = dict(self.text if modality is Modality.TEXT else self.image)
        if NAMES not in values and any(network_of(key) == _CLIP for key in values):
            values[NAMES] = [_CLIP]
        return values

    @property
    def _is_clip_of_both(self) -> bool:
        named = [self._values(modality).get(NAMES, ()) for modality in (Modality.TEXT, Modality.IMAGE)]
        return all(any(family_of(name) == _CLIP for name in names) for names in named)

    def _is_joint(self, modality: Modality) -> bool:
        """Return whether the keys for a modality belong to a network that also reads other columns."""
        values = self._values(modality)
        if NAMES in values:
            return bool(_modalities_without_clip(values[NAMES]) - {modality})
        return any(key.startswith(_OF_ALL_COLUMNS) for key in values)

    def _asks_alone(self, modality: Modality) -> bool:
        values = self._values(modality)
        if NAMES in values:
            return not self._is_joint(modality) and modality in modalities_of(values[NAMES])
        return bool(_of_one_modality(values))

    def _joint_names(self) -> list[str] | None:
        """Return the names of the networks for a fit to all columns. None if the user has named none."""
        listed = {modality: self._values(modality).get(NAMES) for modality in (Modality.TEXT, Modality.IMAGE)}
        if not any(listed.values()):
            return None
        if any(names and self._is_joint(modality) for modality, names in listed.items()):
            names = [name for names in listed.values() for name in names or ()]
        else:
            chosen = [names or [_DEFAULT_NETWORK[modality]] for modality, names in listed.items()]
            keys = {**self.text, **self.image}
            names = [name for names in chosen for name in names]
            names += [_chosen(modality, keys) for modality in (Modality.NUM, Modality.CAT)]
        # The last of two networks that join the others counts.
        fusions = [name for name in names if is_fusion(name)][-1:]
        return list(dict.fromkeys([name for name in names if not is_fusion(name)] + fusions))


def default_networks(modalities: Iterable[Modality], keys: Iterable[str]) -> list[str]:
    """Return the networks that a fit uses if the user has not named any with ``model.names``.

    Parameters
    ----------
    modalities
        Modalities of the columns.
    keys
        Keys that the user has set. Keys of an MLP choose the MLP instead of the default network.
    """
    known = list(keys)
    return list(dict.fromkeys(_chosen(modality, known) for modality in modalities))


def without_weights(modalities: Iterable[Modality], settings: Mapping[str, Any]) -> list[Modality]:
    """Return the modalities whose networks have no weights of their own, so that the job has to provide them.

    The settings of a branch name a network's own weights with ``checkpoint_name``.
    """
    reads = list(modalities)
    names = settings.get(NAMES) or default_networks(reads, settings)

    def needs(modality: Modality) -> bool:
        networks = (name for name in names if family_of(name) == _DEFAULT_NETWORK[modality])
        return any(f"model.{name}.checkpoint_name" not in settings for name in networks)

    return [modality for modality in reads if needs(modality)]


def joining_network(keys: Iterable[str]) -> str:
    """Return the network that joins the vectors of the other networks, if the user has named none."""
    return "fusion_transformer" if any(key.startswith("model.fusion_transformer.") for key in keys) else "fusion_mlp"


def _chosen(modality: Modality, keys: Iterable[str]) -> str:
    mlp = {Modality.NUM: "numerical_mlp", Modality.CAT: "categorical_mlp"}.get(modality)
    is_set = mlp is not None and any(key.startswith(f"model.{mlp}.") for key in keys)
    return mlp if mlp is not None and is_set else _DEFAULT_NETWORK[modality]


def _of_one_modality(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not key.startswith(_OF_ALL_COLUMNS)}


def _modalities_without_clip(names: Iterable[str]) -> set[Modality]:
    return modalities_of(name for name in names if family_of(name) != _CLIP)


def check_networks(name: str, modality: Modality, values: dict[str, Any], has_teacher: bool) -> dict[str, Any]:
    """Check that each key belongs to a network that is fitted to columns of this modality, and return the keys.

    Parameters
    ----------
    name
        Name of the JSON hyperparameter that holds the keys, for messages.
    modality
        Modality of the columns that the hyperparameter is for.
    values
        The value of each key, as `automm_keys.checked` returns them.
    has_teacher
        Whether the job learns from a previous model as teacher.

    Raises
    ------
    UserError
        A key is for a network that is not fitted, or for the other modality. Or another key is missing that it needs.
    """
    names = values.get(NAMES)
    other = Modality.IMAGE if modality is Modality.TEXT else Modality.TEXT
    sees_other = names is not None and other in modalities_of(names)
    for key in values:
        network = network_of(key)
        if network is not None:
            _check_network(name, key, network, modality, names)
        if key.startswith(_OF_ONE[other]) and not sees_other:
            raise UserError(f"{name}: {key} is for {other.value} columns. Set it in {_HYPERPARAMETER[other]}.")
        if key.startswith("distiller.") and not has_teacher:
            raise UserError(f"{name}: {key} is for learning from a teacher. Set distill_from=model, or leave it out.")
    _check_pairs(name, values)
    return values


def _check_network(name: str, key: str, network: str, modality: Modality, names: Collection[str] | None) -> None:
    if names is not None:
        if network not in names:
            raise UserError(f"{name}: {key} is of a network that {NAMES} does not hold. Add {network} there.")
        return
    if network not in NETWORKS:
        raise UserError(f"{name}: {key} is of a network with a name of its own. List {network} in {NAMES}.")
    reads = NETWORKS[network]
    if {Modality.TEXT, Modality.IMAGE} & {*reads} and modality not in reads:
        raise UserError(
            f"{name}: {key} is of a network for {reads[0].value} columns. Set it in {_HYPERPARAMETER[reads[0]]}, or "
            f"list {network} in {NAMES}."
        )


def _check_pairs(name: str, values: Mapping[str, Any]) -> None:
    if values.get("optim.cross_modal_align") and not values.get("optim.cross_modal_align_weight"):
        raise UserError(f"{name}: optim.cross_modal_align needs optim.cross_modal_align_weight above 0.")
    if values.get("optim.lemda.turn_on") and values.get("optim.automatic_optimization", True):
        raise UserError(f"{name}: optim.lemda.turn_on needs optim.automatic_optimization: false.")
