"""The largest attention logit of an observed step: if it grows without limit, attention collapses to one token.

`scaled_dot_product_attention` is wrapped during an observed step. For each call, the logits of one example and at most
`QUERIES` of its tokens are computed again. Attention that computes its softmax by itself is not observed.

Source: Zhai et al. 2023, Stabilizing Transformer Training by Preventing Attention Entropy Collapse.
"""

from __future__ import annotations

import math

import torch

from sweeper.worker.watch.forward.wrapping import FunctionWrapper, Safely, unsafely

QUERIES = 64
ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale")


class AttentionLogits:
    """Measures calls of attention between `open` and `take`."""

    def __init__(self, safely: Safely = unsafely) -> None:
        self._seen: list[torch.Tensor] = []
        self._wrapper = FunctionWrapper("scaled_dot_product_attention", ARGUMENTS, self._measure, safely)

    def open(self) -> None:
        """Measure until `take`."""
        self._wrapper.open()

    def take(self) -> torch.Tensor | None:
        """Stop measuring; return the largest magnitude of a logit, 0-d, or None if attention was not called."""
        self._wrapper.close()
        seen, self._seen = self._seen, []
        return torch.stack([one.to(seen[0].device) for one in seen]).amax() if seen else None

    def _measure(self, query: object, key: object, *rest: object) -> None:
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
    """Return the first example of a batch; the whole tensor if it has no batch."""
    detached = tensor.detach()
    return detached[:1] if detached.dim() > 2 else detached  # noqa: PLR2004 - tokens by features
