"""Distribution matching with an adversarial head (CausalCine §3.4), on rollouts with the memory of inference; horizon
weighting and gradients through the hidden state (AdaState).

Legend: `R` rows (one chunk each, film-major), `L` latent frames of a chunk, `F` hidden frames, `N` tokens, `d` width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generator.contexts import Context
from ..generator.schedule import warp
from ..generator.transformer import Listen
from .distillation import TaughtStage, frozen
from .film_stage import STATE_WEIGHT, Scene, Workshop, add_noise, spread
from .films import Batch
from .settings import DistributionSettings
from .sight import by_place
from .unroll import Ask, unroll

PERTURBATION = 0.01
"""How far the approximate R1 penalty moves real films (APT, Self-Forcing)."""


class Head(nn.Module):
    """Tells real chunks from made ones by the fake score's features [R, N, d]; one logit a row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.look = nn.Linear(width, 1)
        self.judge = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, features_RNd: Tensor) -> Tensor:
        x = self.norm(features_RNd.float())
        attention = self.look(x).softmax(dim=1)
        logits: Tensor = self.judge((attention * x).sum(dim=1))[:, 0]
        return logits


class DistributionStage(TaughtStage):
    """One update of the student for every `ratio` of the fake score and its head."""

    settings: DistributionSettings

    def __init__(self, settings: DistributionSettings, workshop: Workshop, teacher: nn.ModuleDict) -> None:
        super().__init__(settings, workshop, teacher)
        self.fake = frozen(teacher).requires_grad_(True)
        transformer: Any = self.fake["transformer"]
        blocks = transformer.blocks
        self.critic = nn.ModuleDict({"fake": self.fake, "head": Head(blocks[0].attn1.to_q.in_features)})
        self._kept = torch.empty(0)
        self._features: list[Tensor] = []
        blocks[2 * len(blocks) // 3].register_forward_hook(self._keep)
        self.levels = [warp(t / 1000, settings.shift) for t in settings.timesteps]

    def _keep(self, module: nn.Module, arguments: Any, output: tuple[Tensor, ...]) -> None:
        self._kept = output[0]

    def flow(
        self, nets: nn.ModuleDict, x: Tensor, sigma_R: Tensor, text: Tensor, context: Context, listen: Listen | None = None
    ) -> Tensor:  # fmt: skip
        out = super().flow(nets, x, sigma_R, text, context, listen)
        if nets is self.fake:
            self._features.append(self._kept)
        return out

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {"networks": self.nets, "critic": self.critic}

    def part(self, step: int) -> str:
        return "networks" if step % (self.settings.ratio + 1) == self.settings.ratio else "critic"

    def learning_rate(self, part: str) -> float:
        return self.settings.learning_rate if part == "networks" else self.settings.critic_rate

    def sharded(self) -> list[nn.Module]:
        return [*super().sharded(), *self.fake.values(), self.critic["head"]]

    # --- the student's own films --------------------------------------------------------------------------------

    def rollout(self, scene: Scene, films: int, text: Tensor) -> Tensor:
        """Films as the student makes them [R, c, F + L, h, w].

        Every chunk leaves denoising at the same randomly drawn step, with its gradient; the steps before have none.
        """
        exit_step = scene.draws.shared.randrange(len(self.levels))

        def denoise(x: Tensor, ask: Ask) -> Tensor:
            clean = x
            for index, level in enumerate(self.levels[: exit_step + 1]):
                sigma = torch.full((len(x),), level, device=self.device)
                with torch.set_grad_enabled(torch.is_grad_enabled() and index == exit_step):
                    clean = x - level * ask(x, sigma)
                if index < exit_step:
                    after = torch.full_like(sigma, self.levels[index + 1])
                    x = add_noise(clean, scene.draws.normal(1, *x.shape[1:]), after)
            return clean

        return unroll(self, self.nets, scene, films, text, denoise, self.settings.through)

    # --- losses -------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, step: int, progress: float) -> dict[str, Tensor]:
        scene, films = self.scene(batch), len(batch.film_seeds)
        if self.part(step) == "networks":
            return self._student(scene, films)
        return self._critic(scene, films)

    def _level(self, scene: Scene, films: int) -> Tensor:
        """One noise level a film, on all its rows, clamped away from the ends."""
        low, high = (t / 1000 for t in self.settings.clamp)
        u = scene.draws.uniform(1)
        return warp(u, self.settings.shift).clamp(low, high).repeat_interleave(len(scene.films.latents) // films)

    def horizon(self, rows: int, films: int) -> Tensor:
        """Weights [R] that rise from the first chunk to the last, 1 in the mean."""
        rising = torch.linspace(1.0, self.settings.horizon, rows // films, device=self.device)
        return (rising / rising.mean()).repeat(films)

    def _student(self, scene: Scene, films: int) -> dict[str, Tensor]:
        text = self.text(self.nets, scene.films)
        made = self.rollout(scene, films, text)
        level = self._level(scene, films)
        noisy = add_noise(made, scene.draws.normal(len(made) // films, *made.shape[1:]), level)
        own = made.detach()
        with torch.no_grad():
            said, told = (self.text(nets, scene.films) for nets in (self.teacher, self.fake))
            real = self.guided(scene, self.sight(self.teacher, scene, own, said, films), noisy, level, said)
            sight = self.sight(self.fake, scene, own, told, films)
            fake = sight(noisy, level, told)
            ends = [noisy - spread(level) * flow for flow in (fake, real)]
            size = (own - ends[1]).abs().mean(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1e-4)
            push = torch.nan_to_num((ends[0] - ends[1]) / size)
        horizon = self.horizon(len(made), films)
        weight = spread(horizon) * torch.ones_like(made[:, :1, :, :1, :1])
        weight[:, :, : made.shape[2] - self.length] *= STATE_WEIGHT
        matching = 0.5 * (weight * (made - (own - push)).square()).mean()
        losses = {"loss": matching, "push": push.abs().mean()}
        if self.settings.adversarial:
            fooled = (horizon * F.softplus(-self._judge(scene, lambda: sight(noisy, level, told))[1])).mean()
            losses |= {"loss": matching + self.settings.adversarial * fooled, "fooled": fooled}
        return losses

    def _critic(self, scene: Scene, films: int) -> dict[str, Tensor]:
        """The fake score learns the student's films by flow matching; its head tells them from real ones."""
        with torch.no_grad():
            own = self.rollout(scene, films, self.text(self.nets, scene.films))
        level = self._level(scene, films)
        noise = scene.draws.normal(len(own) // films, *own.shape[1:])
        text = self.text(self.fake, scene.films)

        def judge(clean: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor]:
            return self._judge(scene, lambda: self.forced(self.fake, scene, clean, noisy, level, text, films))

        flow, made = judge(own, add_noise(own, noise, level))
        losses = {"loss": (flow - (noise - own)).square().mean()}
        losses["score"] = losses["loss"]
        if self.settings.critic_adversarial:
            real = self.with_state(scene.memory, scene.films.latents)
            shown = add_noise(real, noise, level)
            _, seen = judge(real, shown)
            telling = F.softplus(made).mean() + F.softplus(-seen).mean()
            if self.settings.smooth:
                moved = shown + PERTURBATION * scene.draws.normal(len(own) // films, *shown.shape[1:])
                telling = telling + self.settings.smooth * (judge(real, moved)[1] - seen).square().mean()
            losses |= {"loss": losses["loss"] + self.settings.critic_adversarial * telling, "telling": telling}
        return losses

    def _judge(self, scene: Scene, run: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """A pass of the fake score over the rows' noisy copies, and the head's logits of them by what it felt; hidden frames are not
        looked at."""
        self._features.clear()
        flow = run()
        features = torch.cat(self._features)[-len(flow) :]
        self._features.clear()
        if scene.memory.compressed:  # rows went by their place in the shot
            features = features[torch.cat(by_place(scene.films.place)).argsort()]
        hidden = scene.memory.state.frames if scene.memory.state else 0
        own = features.unflatten(1, (hidden + self.length, -1))[:, hidden:].flatten(1, 2)
        logits: Tensor = self.critic["head"](own)
        return flow, logits
