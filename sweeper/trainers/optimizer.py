"""AdamW without bias correction, as in the original BERT, on torch's fused kernels; and BERT's learning rate schedule.

BERT's code omitted Adam's bias correction. Mosbach et al. 2021 and Zhang et al. 2021 identified this as a cause of
failed fine-tuning: early updates are too large, by a factor of 6.6 at step 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from sweeper.trainers.settings import Settings

LONG_AGO = 1e7
"""A step count at which `1 - beta ** step` is 1 in float64 for betas up to 0.999995, and which float32 represents."""
FUSED_ON = frozenset({"cpu", "cuda", "mps", "xpu"})


def adamw(model: torch.nn.Module, settings: Settings) -> torch.optim.AdamW:
    """Return AdamW over all trainable parameters, without weight decay for biases and normalisation, as in BERT.

    Without bias correction, a step is `p <- p (1 - lr wd) - lr m / (sqrt(v) + eps)`.
    """
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = all(parameter.device.type in FUSED_ON for parameter in parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=betas, eps=settings.eps, fused=fused)
    if not settings.bias_correction:
        leave_out_bias_correction(optimizer)
    return optimizer


def leave_out_bias_correction(optimizer: torch.optim.Optimizer) -> None:
    """Set the step count of a new Adam optimizer so high that its bias corrections are exactly 1."""
    import torch

    for group in optimizer.param_groups:
        for parameter in group["params"]:
            # Fused and capturable kernels need the count on the parameter's device, the others on the CPU.
            device = parameter.device if group.get("fused") or group.get("capturable") else "cpu"
            optimizer.state[parameter] = {
                "step": torch.tensor(LONG_AGO, dtype=torch.float32, device=device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }


def uncorrected(settings: Settings) -> tuple[float, ...]:
    """Return the betas if Adam's bias correction is left out; otherwise an empty tuple."""
    return () if settings.bias_correction else (settings.beta1, settings.beta2)


def learning_rate(step: int, *, total_steps: int, warmup_fraction: float, peak: float) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises linearly to `peak` over the first `warmup_fraction` of the steps, and falls linearly to 0 after the last.
    """
    warmup = round(warmup_fraction * total_steps)
    if step < warmup:
        return peak * ((step + 1) / warmup)
    return peak * ((total_steps - step) / (total_steps - warmup))
