"""Three ways to a first few-step student, all teacher-forced: progressive distillation, causal consistency distillation and causal
ODE regression."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..generator.contexts import Alone
from ..generator.packed import own_positions
from ..generator.sampling import sample
from ..generator.schedule import Sampling, warp
from .film_stage import FilmStage, Scene, Workshop, add_noise, guide, spread
from .films import Batch
from .settings import ConsistencySettings, OdeSettings, ProgressiveSettings, TaughtSettings
from .sight import Sight
from .unroll import Ask, unroll


def frozen(networks: nn.ModuleDict) -> nn.ModuleDict:
    """A copy that is not trained."""
    return copy.deepcopy(networks).requires_grad_(False)


class TaughtStage(FilmStage):
    """A student and its teacher, which never moves."""

    settings: TaughtSettings

    def __init__(self, settings: TaughtSettings, workshop: Workshop, teacher: nn.ModuleDict) -> None:
        super().__init__(settings, workshop)
        self.teacher = teacher.requires_grad_(False)

    def sharded(self) -> list[nn.Module]:
        return [*super().sharded(), *self.teacher.values()]

    def guided(self, scene: Scene, sight: Sight, x: Tensor, sigma_R: Tensor, text: Tensor) -> Tensor:
        """The teacher's flow, guided away from the same rows without prompt and pictures; where a shot begins, high up, without
        memory too, as in a rollout."""
        told = sight(x, sigma_R, text)
        if self.settings.guidance == 1.0:
            return told
        nothing = torch.zeros_like(text)
        untold = sight(x, sigma_R, nothing, pictures=False)
        if self.settings.recall_above < 1.0:
            alone = torch.nonzero((scene.films.place == 0) & (sigma_R > self.settings.recall_above))[:, 0]
            rows = alone if len(alone) else alone.new_zeros(1)  # processes that share weights must run the same passes
            own = Alone(own_positions(scene.memory, 0, self.length))
            lonely = self.flow(self.teacher, x[rows], sigma_R[rows], nothing[rows], own)
            untold[alone] = lonely[: len(alone)]
        return guide(told, untold, sigma_R, scene.films.place, self.settings)


class ProgressiveStage(TaughtStage):
    """The teacher takes several guided Euler steps; the student learns their mean flow from where they begin, and so takes them in
    one (Salimans and Ho 2022). Nothing that it learns from moves with it, as a consistency target does, and the way is short.

    On films of its own it begins wherever its rollouts pass, at all of their steps at once: true films with noise are not what it will meet.
    """

    settings: ProgressiveSettings

    def loss(self, batch: Batch, step: int, progress: float) -> dict[str, Tensor]:
        settings, scene = self.settings, self.scene(batch)
        films = len(batch.film_seeds)
        history, begun = self.own(scene, films) if settings.own_films else self.true(scene, films)
        fine = settings.sampling_steps * settings.substeps
        noisy, starts, lengths, goals = [], [], [], []
        with torch.no_grad():
            text = self.text(self.teacher, scene.films)
            sight = self.sight(self.teacher, scene, history, text, films)
            for x, index in begun:
                ticks = [index * settings.substeps + d for d in range(settings.substeps + 1)]
                levels = [warp((1 - tick / fine).clamp(min=0.0), settings.shift) for tick in ticks]
                noisy.append(x)
                starts.append(levels[0])
                lengths.append(levels[0] - levels[-1])
                for level, nearer in pairwise(levels):
                    x = x + spread(nearer - level) * self.guided(scene, sight, x, level, text)
                goals.append((noisy[-1] - x) / spread(lengths[-1]))
        told = self.text(self.nets, scene.films)
        flow = self.forced(self.nets, scene, history, torch.cat(noisy), torch.cat(starts), told, films)
        error = (flow - torch.cat(goals)).square()
        hidden = history.shape[2] - self.length
        weight = self.weight(scene.films, hidden, 0.0 if settings.own_films else None)  # its puppets stand elsewhere
        weight = weight.repeat(len(begun), 1, 1, 1, 1) * spread(torch.cat(lengths)) * settings.sampling_steps
        return {"loss": (weight * error).mean(), "plain": error[:, :, hidden:].mean()}

    def true(self, scene: Scene, films: int) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """True films [R, c, F + L, h, w], and their rows with the noise of a step drawn for each [R]."""
        clean, steps = self.with_state(scene.memory, scene.films.latents), self.settings.sampling_steps
        chunks = len(clean) // films
        index = (scene.draws.uniform(chunks) * steps).floor()
        level = warp(1 - index / steps, self.settings.shift)
        return clean, [(add_noise(clean, scene.draws.normal(chunks, *clean.shape[1:]), level), index)]

    @torch.no_grad()
    def own(self, scene: Scene, films: int) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Films as the student makes them, and all that it met on the way, step by step."""
        steps = self.settings.sampling_steps
        sampling = Sampling("euler", steps=steps, shift=self.settings.shift)
        met: list[Tensor] = []  # by chunks, and by steps within them

        def denoise(noise: Tensor, ask: Ask) -> Tensor:
            def predict(x: Tensor, level: float) -> Tensor:
                met.append(x)
                return ask(x, torch.full((len(x),), level, device=self.device))

            return sample(sampling, predict, lambda _: noise)

        made = unroll(self, self.nets, scene, films, self.text(self.nets, scene.films), denoise)
        begun = (torch.stack(met[index::steps], dim=1).flatten(0, 1) for index in range(steps))
        return made, [(x, torch.full((len(x),), float(index), device=self.device)) for index, x in enumerate(begun)]


class ConsistencyStage(TaughtStage):
    """The teacher takes one guided Euler step on a grid; the student must predict from both ends the same clean chunk
    (Causal-Forcing++)."""

    settings: ConsistencySettings

    def __init__(self, settings: ConsistencySettings, workshop: Workshop, teacher: nn.ModuleDict) -> None:
        super().__init__(settings, workshop, teacher)
        self.target = frozen(self.nets)

    def sharded(self) -> list[nn.Module]:
        return [*super().sharded(), *self.target.values()]

    def after_step(self, part: str) -> None:
        with torch.no_grad():
            for mine, theirs in zip(self.target.parameters(), self.nets.parameters(), strict=True):
                mine.lerp_(theirs, 1.0 - self.settings.target_average)

    def loss(self, batch: Batch, step: int, progress: float) -> dict[str, Tensor]:
        settings, scene = self.settings, self.scene(batch)
        films, chunks = len(batch.film_seeds), self.chunks(scene.films, batch)
        clean = self.with_state(scene.memory, scene.films.latents)
        index = (scene.draws.uniform(chunks) * settings.grid).floor().clamp(max=settings.grid - 1)
        high, low = (warp((1 - (index + d) / settings.grid).clamp(min=0.0), settings.shift) for d in (0, 1))
        noisy = add_noise(clean, scene.draws.normal(chunks, *clean.shape[1:]), high)
        with torch.no_grad():
            text = self.text(self.teacher, scene.films)
            sight = self.sight(self.teacher, scene, clean, text, films)
            guided = self.guided(scene, sight, noisy, high, text)
            nearer = noisy + spread(low - high) * guided
            said = self.text(self.target, scene.films)
            goal = nearer - spread(low) * self.forced(self.target, scene, clean, nearer, low, said, films)
        told = self.text(self.nets, scene.films)
        mine = noisy - spread(high) * self.forced(self.nets, scene, clean, noisy, high, told, films)
        error = (mine - goal).square()
        hidden = clean.shape[2] - self.length
        return {"loss": (self.weight(scene.films, hidden) * error).mean(), "plain": error[:, :, hidden:].mean()}


class OdeStage(TaughtStage):
    """The student regresses the ends of the teacher's trajectories from its own timesteps (CausVid, CausalCine §3.3)."""

    settings: OdeSettings

    def __init__(self, settings: OdeSettings, workshop: Workshop, teacher: nn.ModuleDict) -> None:
        super().__init__(settings, workshop, teacher)
        self._made: tuple[int, Scene, Tensor, Tensor] | None = None

    def batch(self, step: int) -> Batch:
        """The films of a block of steps: their trajectories cost a hundred passes and serve all of it."""
        return super().batch(step // self.settings.reuse)

    def trajectory(self, scene: Scene, films: int) -> tuple[Tensor, Tensor]:
        """States at the student's timesteps [T, R, c, F + L, h, w], and the ends."""
        settings = self.settings
        clean = self.with_state(scene.memory, scene.films.latents)
        wanted = [round((1 - t / 1000) * settings.trajectory) for t in settings.timesteps]
        x = scene.draws.normal(len(clean) // films, *clean.shape[1:])
        states = []
        with torch.no_grad():
            text = self.text(self.teacher, scene.films)
            sight = self.sight(self.teacher, scene, clean, text, films)
            for index in range(settings.trajectory):
                if index in wanted:
                    states.append(x)
                level, nearer = (
                    warp(
                        torch.full((len(x),), 1 - (index + d) / settings.trajectory, device=self.device), settings.shift
                    )
                    for d in (0, 1)
                )
                x = x + spread(nearer - level) * self.guided(scene, sight, x, level, text)
        return torch.stack(states), x

    def loss(self, batch: Batch, step: int, progress: float) -> dict[str, Tensor]:
        settings, films = self.settings, len(batch.film_seeds)
        block = step // settings.reuse
        if self._made is None or self._made[0] != block:
            scene = self.scene(batch)
            self._made = (block, scene, *self.trajectory(scene, films))
        _, scene, states, ends = self._made
        clean = self.with_state(scene.memory, scene.films.latents)
        rows = torch.arange(len(clean), device=self.device)
        which = (rows + step) % len(states)  # every row meets all its timesteps in turn
        times = torch.tensor(settings.timesteps, device=self.device)[which] / 1000
        level = warp(torch.round(times * settings.trajectory) / settings.trajectory, settings.shift)
        x = states[which, rows]
        told = self.text(self.nets, scene.films)
        mine = x - spread(level) * self.forced(self.nets, scene, clean, x, level, told, films)
        error = (mine - ends).square()
        hidden = clean.shape[2] - self.length
        return {"loss": (self.weight(scene.films, hidden) * error).mean(), "plain": error[:, :, hidden:].mean()}
