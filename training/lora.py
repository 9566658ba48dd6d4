"""Low-rank adapters on a model whose own weights stay as they are (peft): for people with one device and few clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ..generator.transformer import CausalWanTransformer3DModel
from ..storyboard.errors import InputError
from .film_stage import Workshop, part_of
from .settings import LoraSettings
from .tuning import TuningStage

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2"]


def _inject(transformer: Any, settings: LoraSettings) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError("stage of kind lora needs peft: pip install 'filmwright[train]'") from error
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=TARGETS, init_lora_weights=True)
    inject_adapter_in_model(config, transformer)


class LoraStage(TuningStage):
    """Tuning, of the adapters alone."""

    settings: LoraSettings

    def __init__(self, settings: LoraSettings, workshop: Workshop) -> None:
        transformer: Any = workshop.networks["transformer"]
        transformer.requires_grad_(False)
        super().__init__(settings, workshop)
        _inject(transformer, settings)

    def export(self, averaged: dict[str, Tensor], folder: Path) -> None:
        """Writes `adapter/` alone, and `transformer/` with the adapter merged in."""
        from peft import get_peft_model_state_dict
        from peft.tuners.tuners_utils import BaseTunerLayer
        from safetensors.torch import save_file

        model: Any = CausalWanTransformer3DModel(**self._config())
        _inject(model, self.settings)
        model.load_state_dict(part_of(averaged, "transformer"))
        (folder / "adapter").mkdir(parents=True, exist_ok=True)
        adapter = {
            f"transformer.{name}": value.contiguous() for name, value in get_peft_model_state_dict(model).items()
        }
        save_file(adapter, str(folder / "adapter" / "pytorch_lora_weights.safetensors"))
        for module in model.modules():
            if isinstance(module, BaseTunerLayer):
                module.merge()
        merged = {
            name.replace(".base_layer.", "."): v for name, v in model.state_dict().items() if ".lora_" not in name
        }
        super().export({f"transformer.{name}": value for name, value in merged.items()}, folder)
