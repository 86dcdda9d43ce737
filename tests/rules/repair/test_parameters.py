"""Which parameters of a script a repair changes: by their usual names, and in words."""

from __future__ import annotations

import pytest

from sweeper.rules.repair import Domain, RepairedParameters, guessed


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["lr", "warmup_fraction", "clip", "batch"], ("lr", "warmup_fraction", "clip", "")),
        (["optimizer.lr", "optimizer.weight_decay"], ("optimizer.lr", "", "", "optimizer.weight_decay")),
        (["learning_rate", "warmup_steps", "max_grad_norm"], ("learning_rate", "warmup_steps", "max_grad_norm", "")),
        (["learningRate", "warmup-ratio", "clip_norm"], ("learningRate", "warmup-ratio", "clip_norm", "")),
        (["lr", "learning_rate"], ("lr", "", "", "")),
        (["lr", "head.lr"], ("lr", "", "", "")),
        (["lr_decay", "min_lr", "clip_range"], ("", "", "", "")),
    ],
)  # fmt: skip
def test_usual_names_are_recognized(names: list[str], found: tuple[str, ...]) -> None:
    chosen, unclear = guessed(names)
    assert (chosen.lr, chosen.warmup, chosen.clip, chosen.weight_decay) == found
    assert not unclear


def test_of_two_equal_names_none_is_chosen() -> None:
    chosen, unclear = guessed(["encoder.lr", "head.lr", "warmup"])
    assert (chosen.lr, chosen.warmup) == ("", "warmup")
    assert unclear == {"lr": ("encoder.lr", "head.lr")}


def test_the_sentence_says_what_is_changed_and_what_was_not_found() -> None:
    assert RepairedParameters(lr="lr", warmup="w").text() == (
        "repair changes lr=lr, warmup=w; no parameter was found for clipping the gradient or the weight decay"
    )
    assert RepairedParameters().text().startswith("repair changes nothing; no parameter was found for the learning")


def test_the_nearest_value_of_a_domain() -> None:
    listed = Domain(values=(1e-4, 3e-4, 1e-3))
    assert (listed.below(9e-4), listed.above(9e-4), listed.below(1e-5), listed.above(1)) == (3e-4, 1e-3, None, None)
    ranged = Domain(low=0.1, high=0.9, quantum=0.1)
    assert (ranged.below(0.35), ranged.above(0.35), ranged.below(0.05), ranged.above(0.95)) == (0.3, 0.4, None, None)
    assert ranged.has(0.3)
    assert not ranged.has(0.35)
    assert Domain(low=0.0).below(5.0) == 5.0
