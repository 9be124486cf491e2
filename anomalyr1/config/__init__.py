"""Configs: typed sections, one inherited base, key=value overrides, unknown keys refused."""

from anomalyr1.config.asking_again import ConsistencyConfig
from anomalyr1.config.augmentation import AugmentConfig
from anomalyr1.config.backend import BackendConfig
from anomalyr1.config.effects import refuse_without_effect, verbs_of
from anomalyr1.config.files import ConfigFaults, dump_config, load_config
from anomalyr1.config.guard import GuardConfig
from anomalyr1.config.mask_making import SegmentationConfig
from anomalyr1.config.reward import RewardConfig
from anomalyr1.config.sampler import SamplerConfig
from anomalyr1.config.sections import (
    Config,
    DataConfig,
    EvalConfig,
    LearningRates,
    LoraSection,
    PolicyConfig,
    PreflightConfig,
    PromptConfig,
    SignalConfig,
)

__all__ = [
    "AugmentConfig",
    "BackendConfig",
    "Config",
    "ConfigFaults",
    "ConsistencyConfig",
    "DataConfig",
    "EvalConfig",
    "GuardConfig",
    "LearningRates",
    "LoraSection",
    "PolicyConfig",
    "PreflightConfig",
    "PromptConfig",
    "RewardConfig",
    "SamplerConfig",
    "SegmentationConfig",
    "SignalConfig",
    "dump_config",
    "load_config",
    "refuse_without_effect",
    "verbs_of",
]
