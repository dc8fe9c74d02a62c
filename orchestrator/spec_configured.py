"""The sections that configure a trial: data, network, objective and training, made from what they configure.

The options of datasets and architectures come from their registries: adding one there adds it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from models.registry import ARCHITECTURES
from orchestrator.sections import ConfiguredSection, Section, Wording, one_of_sections, overrides_section, section
from workers.data.dataset import BINARISATIONS
from workers.data.registry import DATASETS
from workers.trial import LIKELIHOODS, OBJECTIVES, PRECISIONS, SCHEDULES, SPLITS, Objective, Training

WORDING = Wording(
    choices={
        "binarise": BINARISATIONS,
        "likelihood": LIKELIHOODS,
        "schedule": SCHEDULES,
        "precision": PRECISIONS,
        "split": SPLITS,
    },
    descriptions={
        "binarise": "How grey pixels become 0 or 1: not at all, at half, drawn once, or drawn at each use.",
        "latent_units": "The number of latent variables.",
        "likelihood": "The model of a pixel; minus its logarithm (or the squared error) is the distortion.",
        "name": "What β weights: the whole rate (beta-elbo), or its total correlation alone (beta-tcvae).",
        "epochs": "Passes over the training data.",
        "batch_size": "Examples in a training step.",
        "learning_rate": "The step size of Adam, after warm-up.",
        "warmup_epochs": "Epochs in which the learning rate rises linearly from 0; below `epochs`.",
        "schedule": "How the learning rate goes on after warm-up.",
        "precision": "The arithmetic of the forward pass; bfloat16 is mixed precision.",
        "channels_last": "Whether images lie in memory with channels last, as some convolutions prefer.",
    },
)

WORDING_OF_OBJECTIVE = WORDING._replace(choices={**WORDING.choices, "name": OBJECTIVES})

if TYPE_CHECKING:
    # Made at run time from the registries and dataclasses, so a type checker sees what they have in common.
    DatasetSection: TypeAlias = ConfiguredSection
    ArchitectureSection: TypeAlias = ConfiguredSection
    ObjectiveSection: TypeAlias = ConfiguredSection
    TrainingSection: TypeAlias = ConfiguredSection
    TrainingOverrides: TypeAlias = Section
else:
    DatasetSection = one_of_sections(DATASETS, WORDING)
    ArchitectureSection = one_of_sections(ARCHITECTURES, WORDING)
    ObjectiveSection = section(Objective, WORDING_OF_OBJECTIVE)
    TrainingSection = section(Training, WORDING)
    TrainingOverrides = overrides_section(Training, WORDING)
