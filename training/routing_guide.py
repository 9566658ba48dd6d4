"""What routing should recall (ours): a loss that asks the mean query of a chunk to answer to the frames that show its puppets.

CausalCine's routing (§3.3) has no parameters and no loss of its own: what its scores mean is what attention happens to make of queries
and keys. Large weights bring that along; small ones find chance. The guide is cross-entropy over the frames of the film that lie before a
chunk's window, by the very scores that routing chooses by, in every layer.

Legend: `A` copies of the rows (clean ones, then noisy), `f` films, `C` chunks of a film, `L` latent frames of a chunk, `E` heads x width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class RoutingGuide:
    """Listens to the queries and keys of a packed pass.

    Args:
        shared: whether a chunk of the film shows a puppet of the row's chunk [f·C, C].
        state: hidden frames before each chunk's own, which are no content to recall by.
        window: frames before a chunk that it sees anyway: to find those is no art, and they would outnumber the others.
    """

    def __init__(self, shared: Tensor, films: int, length: int, state: int, window: int = 0) -> None:
        chunks = shared.shape[1]
        self._films, self._chunks, self._frames, self._state = films, chunks, length + state, state
        frames = torch.arange(chunks * length, device=shared.device)
        self._earlier = frames < torch.arange(chunks, device=shared.device)[:, None] * length - window
        wanted = shared.unflatten(0, (films, chunks)).repeat_interleave(length, dim=2) & self._earlier
        self._wanted = wanted
        others = (self._earlier & ~wanted).any(dim=2)
        self._asked = wanted.any(dim=2) & others
        """Chunks [f, C] that have something to recall, and something else to tell it from."""
        self._losses: list[Tensor] = []
        self._right: list[Tensor] = []

    def __call__(self, layer: int, x_RNd: Tensor, q_RNHD: Tensor, k_RNHD: Tensor) -> None:
        if not self._asked.any():
            return
        rows = self._films * self._chunks
        query = self._own(q_RNHD).float().mean(dim=(1, 2)).flatten(1).unflatten(0, (-1, self._films, self._chunks))
        keys = (
            self._own(k_RNHD[:rows])
            .float()
            .mean(dim=2)
            .flatten(2)
            .unflatten(0, (self._films, self._chunks))
            .flatten(1, 2)
        )
        scores = torch.einsum("afce,fpe->afcp", query, keys) / query.shape[-1] ** 0.5
        scores = scores.masked_fill(~self._earlier, -torch.inf)[:, self._asked]
        wanted = self._wanted[self._asked]
        found = torch.logsumexp(scores, dim=-1) - torch.logsumexp(scores.masked_fill(~wanted, -torch.inf), dim=-1)
        self._losses.append(found.mean())
        best = scores.argmax(dim=-1)
        self._right.append(wanted.expand_as(scores).gather(-1, best[..., None]).float().mean())

    def _own(self, x_RNHD: Tensor) -> Tensor:
        """[R, L, n, H, D]."""
        own: Tensor = x_RNHD.unflatten(1, (self._frames, -1))[:, self._state :]
        return own

    def losses(self) -> dict[str, Tensor]:
        """`routing`: the loss; `routed`: how often the best frame is one that was wanted. 0 where no chunk asks."""
        none = [torch.zeros((), device=self._wanted.device)]
        return {
            "routing": torch.stack(self._losses or none).mean(),
            "routed": torch.stack(self._right or none).mean(),
        }
