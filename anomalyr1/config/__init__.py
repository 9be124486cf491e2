"""Configs: typed sections, one inherited base, key=value overrides, unknown keys refused."""

from anomalyr1.config.load import dump_config, load_config
from anomalyr1.config.reward import RewardConfig
from anomalyr1.config.sections import (
    Config,
    DataConfig,
    EvalConfig,
    LoraSection,
    PolicyConfig,
    PromptConfig,
    SegmentationConfig,
)

__all__ = [
    "Config",
    "DataConfig",
    "EvalConfig",
    "LoraSection",
    "PolicyConfig",
    "PromptConfig",
    "RewardConfig",
    "SegmentationConfig",
    "dump_config",
    "load_config",
]
