"""History as the model makes it, in tuning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filmwright.generator.contexts import Paged
from filmwright.generator.pages import PageShape, PageStore

from .small_runs import CPU, shop, tuning

pytestmark = pytest.mark.usefixtures("small_size")


def test_resampled_history_is_what_a_rollouts_last_step_makes_after_true_history(tmp_path: Path) -> None:
    made = shop(tmp_path, tuning(memories={"routed(2)+window(1)": 1}, resample=0.9, guidance=2.0, guide_above=0.4))
    stage = made.stage(made.recipe.stage("base"))
    torch.nn.init.normal_(stage.nets["transformer"].proj_out.weight, std=0.05)
    batch = stage.batch(0)
    scene = stage.scene(batch)
    clean = scene.films.latents
    found = stage.resampled(scene, clean, clean, 2)
    again = stage.scene(batch)
    sigma = 0.8 * again.draws.uniform(3)
    assert ((sigma <= 0.4) & (scene.films.place > 0)).any()
    assert sigma.max() > 0.4
    noise = again.draws.normal(3, *clean.shape[1:])
    text, transformer = stage.text(stage.nets, again.films), stage.nets["transformer"]
    shape = PageShape(2, 2, 2, 12, torch.float32, CPU)
    with torch.no_grad():
        for film in range(2):
            store = PageStore(shape, scene.memory, 3)
            for row in range(film * 3, film * 3 + 3):
                noisy = (1 - sigma[row]) * clean[row : row + 1] + sigma[row] * noise[row]
                level, said = sigma[row : row + 1] * 1000, text[row : row + 1]
                scale = 2.0 if sigma[row] > 0.4 or scene.films.place[row] == 0 else 1.0
                told, untold = (
                    transformer(noisy, level, words, Paged(store, scene.memory))
                    for words in (said, torch.zeros_like(said))
                )
                ended = noisy - sigma[row] * (untold + scale * (told - untold))
                assert torch.allclose(found[row], ended[0], atol=1e-5)
                paged = Paged(store, scene.memory, commit=True)
                transformer(clean[row : row + 1], torch.zeros(1), said, paged)
                store.advance({f for layer in paged.recalled.values() for f in layer})


@pytest.mark.parametrize("written", ["window(1)", "shots(2)+compressed", "state(1)+shots(3)+routed(5)+window(3)"])
def test_history_may_be_what_the_model_makes_of_it(written: str, tmp_path: Path) -> None:
    made = shop(
        tmp_path,
        tuning(memories={written: 1}, history_patches="compressed" in written, resample=0.9, chunks=4, cuts=0.2),
    )
    stage = made.stage(made.recipe.stage("base"))
    torch.nn.init.normal_(stage.nets["transformer"].proj_out.weight, std=0.05)
    batch = stage.batch(1)
    resampled = stage.loss(batch, 0, 0.5)["loss"]
    resampled.backward()
    assert torch.isfinite(resampled)
    made = shop(tmp_path, tuning(memories={written: 1}, history_patches="compressed" in written, chunks=4, cuts=0.2))
    plain = made.stage(made.recipe.stage("base"))
    plain.nets.load_state_dict(stage.nets.state_dict())
    assert float(plain.loss(batch, 0, 0.5)["loss"].detach()) != pytest.approx(float(resampled.detach()), rel=1e-6)
