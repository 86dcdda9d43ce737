"""Statistics of gradients and updates per tensor, on the tensors' own device, without a copy to the host.

Rows stand in the order of `record.profile.STATISTICS`: the first five from the gradients, the next two from the
update; the eighth, the update ratio, is the quotient of the latter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

GRADIENT_ROWS = 5


def gradient_statistics(gradients: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Mean, maximum, standard deviation of the absolute entries, fraction of exact zeros, Euclidean norm.

    Returns:
        float32, shape (5, tensors); NaN in the column of a tensor without gradient. The standard deviation is the
        population's, in two passes, so that nothing cancels.
    """
    present = [gradient.detach() for gradient in gradients if gradient is not None]
    if not present:
        return torch.full((GRADIENT_ROWS, len(gradients)), torch.nan)
    magnitudes = torch._foreach_abs(present)
    spread = [torch.std_mean(magnitude, correction=0) for magnitude in magnitudes]
    nonzero = torch.stack([torch.count_nonzero(magnitude) for magnitude in magnitudes])
    sizes = torch.tensor([magnitude.numel() for magnitude in magnitudes], dtype=torch.float32)
    rows = torch.stack(
        [
            torch.stack([mean for _, mean in spread]).float(),
            torch.stack([magnitude.amax() for magnitude in magnitudes]).float(),
            torch.stack([deviation for deviation, _ in spread]).float(),
            1 - nonzero / sizes.to(nonzero.device, non_blocking=True),
            torch.stack(list(torch._foreach_norm(present))).float(),
        ]
    )
    if len(present) == len(gradients):
        return rows
    full = torch.full((GRADIENT_ROWS, len(gradients)), torch.nan, device=rows.device)
    full[:, [i for i, gradient in enumerate(gradients) if gradient is not None]] = rows
    return full


def update_statistics(before: list[torch.Tensor], after: list[torch.Tensor]) -> torch.Tensor:
    """Euclidean norm of each tensor before the step, and of what the step changed; float32, shape (2, tensors).

    `before` is overwritten with the difference: it is a copy made for this, and the next one would be as large.
    """
    norms = torch.stack(list(torch._foreach_norm(before))).float()
    torch._foreach_sub_(before, after)
    return torch.stack([norms, torch.stack(list(torch._foreach_norm(before))).float()])
