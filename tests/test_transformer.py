from __future__ import annotations

import torch
from filmwright.generator.memory import Window
from filmwright.generator.pages import PageStore
from filmwright.generator.transformer import CausalWanTransformer3DModel, Packed, Paged
from hypothesis import given, settings
from hypothesis import strategies as st

CONFIG = {
    "num_attention_heads": 2, "attention_head_dim": 32, "in_channels": 16, "out_channels": 16, "text_dim": 24, "freq_dim": 32,
    "ffn_dim": 64, "num_layers": 2,
}  # fmt: skip
CPU = torch.device("cpu")


def random_model() -> CausalWanTransformer3DModel:
    torch.manual_seed(0)
    model = CausalWanTransformer3DModel(**CONFIG).eval()
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    return model


def store_for(memory: Window, length: int) -> PageStore:
    return PageStore(
        layers=2, capacity=memory.capacity(length), tokens=8, heads=2, head_width=32, dtype=torch.float32, device=CPU
    )


def test_one_chunk_alone_equals_diffusers_wan() -> None:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    theirs = WanTransformer3DModel(**CONFIG, patch_size=(1, 2, 2), rope_max_seq_len=32).eval()
    ours = CausalWanTransformer3DModel(**CONFIG).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x, time, text = torch.randn(2, 16, 3, 4, 8), torch.tensor([300.0, 700.0]), torch.randn(2, 20, 24)
    with torch.no_grad():
        expected = theirs(x, time, text, return_dict=False)[0]
        assert (ours(x, time, text) - expected).abs().max() <= 1e-5


def test_the_packed_forward_of_training_equals_the_paged_rollout() -> None:
    model, memory, length, chunks, films = random_model(), Window(2), 3, 4, 2
    torch.manual_seed(1)
    clean, noisy = (torch.randn(films * chunks, 16, length, 4, 8) for _ in range(2))
    text = torch.randn(films * chunks, 5, 24)
    times = torch.cat([torch.zeros(films * chunks), torch.full((films * chunks,), 500.0)])
    with torch.no_grad():
        context = Packed(memory.select_packed(films, chunks, length, CPU))
        packed = model(torch.cat([clean, noisy]), times, torch.cat([text, text]), context)[films * chunks :]
        for film in range(films):
            store = store_for(memory, length)
            for chunk in range(chunks):
                row = slice(film * chunks + chunk, film * chunks + chunk + 1)
                selection = memory.select(store.frames, length, CPU)
                rolled = model(noisy[row], torch.tensor([500.0]), text[row], Paged(store, selection))
                model(clean[row], torch.zeros(1), text[row], Paged(store, selection, commit=True))
                store.advance(length)
                assert (rolled - packed[row]).abs().max() <= 1e-5


def test_history_changes_what_a_chunk_becomes() -> None:
    model, memory, length = random_model(), Window(1), 3
    torch.manual_seed(2)
    x, text = torch.randn(1, 16, length, 4, 8), torch.randn(1, 5, 24)
    store = store_for(memory, length)
    with torch.no_grad():
        before = model(x, torch.tensor([500.0]), text, Paged(store, memory.select(0, length, CPU)))
        model(torch.randn_like(x), torch.zeros(1), text, Paged(store, memory.select(0, length, CPU), commit=True))
        store.advance(length)
        after = model(x, torch.tensor([500.0]), text, Paged(store, memory.select(length, length, CPU)))
    assert (before - after).abs().max() > 1e-3


def test_a_relative_position_does_not_depend_on_the_length_of_the_film() -> None:
    model, memory, length = random_model(), Window(1), 3
    torch.manual_seed(3)
    x, past, text = torch.randn(1, 16, length, 4, 8), torch.randn(1, 16, length, 4, 8), torch.randn(1, 5, 24)
    outputs = []
    for frames in (0, 300):
        store = store_for(memory, length)
        store.frames = frames
        with torch.no_grad():
            nothing = Window(1).select(0, length, CPU)
            model(past, torch.zeros(1), text, Paged(store, nothing, commit=True))
            store.advance(length)
            outputs.append(
                model(x, torch.tensor([500.0]), text, Paged(store, memory.select(store.frames, length, CPU)))
            )
    assert torch.equal(outputs[0], outputs[1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=20), st.integers(0, 59))
def test_the_page_store_keeps_the_last_frames(writes: list[int], cut: int) -> None:
    store = PageStore(layers=1, capacity=12, tokens=1, heads=1, head_width=2, dtype=torch.float32, device=CPU)
    total = 0
    for count in writes:
        numbers = torch.arange(total, total + count, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 1, 2)
        store.write(0, numbers, -numbers)
        store.advance(count)
        total += count
    kept = torch.arange(max(0, total - 12), total)
    assert store.available(int(kept[0]))
    assert store.layer(0)[0][store.slots(kept)][:, 0, 0, 0].tolist() == kept.tolist()
    assert store.available(0) == (total <= 12)
    if cut <= total:
        store.truncate(cut)
        assert store.frames == cut
