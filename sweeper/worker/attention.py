"""The largest attention logit of an observed step: where it grows without bound, attention has collapsed to one token.

`scaled_dot_product_attention` is wrapped while an observed step lasts, and of each call the logits of one example and
at most `QUERIES` of its tokens are computed once more. Attention that computes its softmax by itself is not seen.

Source: Zhai et al. 2023, Stabilizing Transformer Training by Preventing Attention Entropy Collapse.
"""

from __future__ import annotations

import math

import torch

from sweeper.worker.wrapping import Wrapping

QUERIES = 64
ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale")


class AttentionLogits:
    """Measures calls of attention between `open` and `take`."""

    def __init__(self) -> None:
        self._seen: list[torch.Tensor] = []
        self._wrapping = Wrapping("scaled_dot_product_attention", ARGUMENTS, self._look)

    def open(self) -> None:
        """Measure until `take`."""
        self._wrapping.open()

    def take(self) -> torch.Tensor | None:
        """Return the largest magnitude of a logit, 0-d; None where no attention was seen. Ends measuring."""
        self._wrapping.close()
        seen, self._seen = self._seen, []
        return torch.stack([one.to(seen[0].device) for one in seen]).amax() if seen else None

    def _look(self, query: object, key: object, *rest: object) -> None:
        plain = isinstance(query, torch.Tensor) and isinstance(key, torch.Tensor)
        if not plain or not torch.is_grad_enabled() or query.shape[:-2] != key.shape[:-2] or not key.numel():  # type: ignore[attr-defined]  # tensors
            return
        with torch.no_grad():
            one, other = _of_one(query), _of_one(key)  # type: ignore[arg-type]  # tensors
            scale = rest[ARGUMENTS.index("scale") - 2]
            factor = scale if isinstance(scale, float) else one.shape[-1] ** -0.5
            logits = one[..., :QUERIES, :].float() @ other.float().transpose(-1, -2)
            self._seen.append(torch.linalg.vector_norm(logits, math.inf) * factor)


def _of_one(tensor: torch.Tensor) -> torch.Tensor:
    """The first example of a batch; all of a tensor that has no batch."""
    detached = tensor.detach()
    return detached[:1] if detached.dim() > 2 else detached  # noqa: PLR2004 - tokens by features
