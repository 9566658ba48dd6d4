from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from filmwright.generator.attention import kept_weights, weigh
from filmwright.generator.contexts import Keyframes, Paged
from filmwright.generator.memory import Memory, parse_memory
from filmwright.generator.packed import Noting, Packed, Unrolled
from filmwright.generator.pages import PageShape, PageStore
from filmwright.generator.transformer import ALIKE_ROWS, CausalWanTransformer3DModel

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


SHAPE = PageShape(layers=2, tokens=8, heads=2, head_width=32, dtype=torch.float32, device=CPU)


def products_are_alike() -> bool:
    """Whether this machine's matrix product gives a row the same bits among few rows as among many."""
    rows, weight = torch.randn(480, 64), torch.randn(64, 64)
    return all(torch.equal((rows @ weight)[:count], rows[:count] @ weight) for count in (ALIKE_ROWS, 24, 96))


def commit(
    model: CausalWanTransformer3DModel, store: PageStore, memory: Memory, x: torch.Tensor, text: torch.Tensor
) -> None:
    """The commit pass of a chunk."""
    paged = Paged(store, memory, commit=True)
    model(x, torch.zeros(1), text, paged)
    store.advance({frame for layer in paged.recalled.values() for frame in layer})


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


@pytest.mark.parametrize(
    "written", ["window(2)", "sink(2)+window(1)", "routed(2)+window(1)", "routed(3)", "state(1)+routed(2)+window(1)"]
)
def test_the_packed_forward_of_training_equals_the_paged_rollout(written: str) -> None:
    """And so do its two parts, a clean pass that keeps pages and a noisy pass over them, and the rollout of training: bit for bit
    where matrix products are."""
    most = 0.0 if products_are_alike() else 1e-5
    model, memory, length, chunks, films = random_model(), parse_memory(written), 3, 5, 2
    hidden, rows = memory.state.frames if memory.state else 0, films * chunks
    torch.manual_seed(1)
    clean, noisy = (torch.randn(rows, 16, hidden + length, 4, 8) for _ in range(2))
    text = torch.randn(rows, 5, 24)
    zero, half = torch.zeros(rows), torch.full((rows,), 500.0)
    with torch.no_grad():
        context = Packed(memory, films, chunks, length)
        both = (torch.cat(pair) for pair in ((clean, noisy), (zero, half), (text, text)))
        packed = model(*both, context)[rows:]
        noting = Noting(context)
        model(clean, zero, text, noting)
        apart = model(noisy, half, text, Packed(memory, films, chunks, length, pages=noting.pages))
        pages, beside = {}, []
        for chunk in range(chunks):
            row = slice(chunk, None, chunks)
            beside.append(model(noisy[row], half[row], text[row], Unrolled(memory, films, length, chunk, pages)))
            writing = Unrolled(memory, films, length, chunk, pages, commit=True)
            model(clean[row], zero[row], text[row], writing)
            pages = writing.written
        assert (apart - packed).abs().max() <= most
        assert (torch.stack(beside, dim=1).flatten(0, 1) - packed).abs().max() <= most
        for film in range(films):
            store = PageStore(SHAPE, memory, length)
            for chunk in range(chunks):
                row = slice(film * chunks + chunk, film * chunks + chunk + 1)
                rolled = model(noisy[row], half[row], text[row], Paged(store, memory))
                commit(model, store, memory, clean[row], text[row])
                assert (rolled - packed[row]).abs().max() <= most


def test_history_changes_what_a_chunk_becomes() -> None:
    model, memory, length = random_model(), parse_memory("window(1)"), 3
    torch.manual_seed(2)
    x, text = torch.randn(1, 16, length, 4, 8), torch.randn(1, 5, 24)
    store = PageStore(SHAPE, memory, length)
    with torch.no_grad():
        before = model(x, torch.tensor([500.0]), text, Paged(store, memory))
        commit(model, store, memory, torch.randn_like(x), text)
        after = model(x, torch.tensor([500.0]), text, Paged(store, memory))
    assert (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("written", ["window(1)", "window(1)+absolute"])
def test_only_the_distance_of_the_window_matters(written: str) -> None:
    """Rotating after selection equals rotating at write: a window's positions may start anywhere."""
    model, memory, length = random_model(), parse_memory(written), 3
    torch.manual_seed(3)
    x, past, text = torch.randn(1, 16, length, 4, 8), torch.randn(1, 16, length, 4, 8), torch.randn(1, 5, 24)
    outputs = []
    for frames in (0, 300):
        store = PageStore(SHAPE, memory, length)
        with torch.no_grad():
            if frames:  # a film that is long already, and whose window holds nothing but `past`
                store.frames = frames
                empty = Paged(store, memory, commit=True)
                empty.plan = replace(empty.plan, fixed=(), positions=())
                model(past, torch.zeros(1), text, empty)
                store.advance()
            else:
                commit(model, store, memory, past, text)
            outputs.append(model(x, torch.tensor([500.0]), text, Paged(store, memory)))
    assert (outputs[0] - outputs[1]).abs().max() <= 1e-5


def test_a_coarse_patch_starts_as_the_embedding_of_the_shrunk_picture() -> None:
    model = random_model()
    model.add_history_patches()
    x = torch.randn(1, 16, 2, 8, 8)
    with torch.no_grad():
        for name, pool in (("4", (1, 2, 2)), ("32", (2, 4, 4))):
            shrunk = model.patch_embedding(torch.nn.functional.avg_pool3d(x, pool))
            assert torch.allclose(model.history_embedding[name](x), shrunk, atol=1e-5)


def test_pinned_pictures_are_seen_alike_in_training_and_in_a_rollout() -> None:
    most = 0.0 if products_are_alike() else 1e-5
    model, memory, length, chunks, films = random_model(), parse_memory("shots(2)+window(2)"), 3, 3, 2
    torch.manual_seed(4)
    rows = films * chunks
    clean, noisy = (torch.randn(rows, 16, length, 4, 8) for _ in range(2))
    text, pins = torch.randn(rows, 5, 24), torch.randn(rows, 16, 2, 4, 8)
    times = torch.cat([torch.zeros(rows), torch.full((rows,), 500.0)])
    with torch.no_grad():
        context = model.remember([Keyframes(pins, 1, (0, 1), 120)], text)
        packed = model(
            torch.cat([clean, noisy]), times, torch.cat([text, text]), Packed(memory, films, chunks, length, context)
        )[rows:]
        for film in range(films):
            store = PageStore(SHAPE, memory, length)
            for chunk in range(chunks):
                row = slice(film * chunks + chunk, film * chunks + chunk + 1)
                known = model.remember([Keyframes(pins[row], 1, (0, 1), 120)], text[row])
                rolled = model(noisy[row], torch.tensor([500.0]), text[row], Paged(store, memory, known))
                model(clean[row], torch.zeros(1), text[row], Paged(store, memory, known, commit=True))
                store.advance()
                assert (rolled - packed[row]).abs().max() <= most


def test_attention_that_keeps_its_weights_is_the_same_attention() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, tokens, 16, requires_grad=True) for tokens in (24, 40, 40))
    found, ways = [], set()
    for keep in (False, True):
        with kept_weights(keep):
            out = weigh(q, k, v)
        assert out.grad_fn is not None
        ways.add(out.grad_fn.name())
        found.append((out, *torch.autograd.grad(out.square().sum(), (q, k, v))))
    assert len(ways) == 2
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
