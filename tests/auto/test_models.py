"""The models that optimizers train, and the names of the script's variables."""

from __future__ import annotations

import copy
import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from sweeper.auto.models import find_models, variable_names


def sgd(*modules: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([p for module in modules for p in module.parameters()], lr=0.1)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def test_the_outermost_module_is_found_by_its_variable() -> None:
    model = net()
    assert find_models([sgd(model)], sys._getframe()).models == {"model": model}


def test_models_are_in_the_order_of_the_optimizers() -> None:
    first, second = net(), net()
    found = find_models([sgd(second), sgd(first)], sys._getframe())
    assert list(found.models) == ["second", "first"]
    assert isinstance(found.model, nn.ModuleDict)


def test_a_copy_and_a_frozen_teacher_are_not_trained() -> None:
    student, teacher = net(), net().requires_grad_(requires_grad=False)
    average = copy.deepcopy(student)
    found = find_models([sgd(student)], sys._getframe())
    assert list(found.models) == ["student"]
    assert [id(average), id(teacher)] != [id(found.model)] * 2


def test_a_module_that_shares_layers_of_a_model_is_not_another_model() -> None:
    model = net()
    features = nn.Sequential(*list(model.children())[:2])
    found = find_models([sgd(model)], sys._getframe())
    assert list(found.models) == ["model"]
    assert features[0] is model[0]


def test_a_wrapper_of_a_model_is_the_model() -> None:
    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

    inner = net()
    wrapper = Wrapper(inner)
    assert list(find_models([sgd(inner)], sys._getframe()).models) == ["wrapper"]
    assert wrapper.inner is inner


def test_data_parallel_is_looked_through() -> None:
    parallel = nn.DataParallel(net())
    assert find_models([sgd(parallel)], sys._getframe()).model is parallel.module


def test_modules_whose_parameters_cannot_be_listed_are_passed_over() -> None:
    class Odd(nn.Module):
        def parameters(self, *_: Any, **__: Any) -> Iterator[nn.Parameter]:
            raise RuntimeError("not yet")

    odd, half_made = Odd(), nn.Module.__new__(nn.Linear)
    model = net()
    assert list(find_models([sgd(model)], sys._getframe()).models) == ["model"]
    assert type(half_made) is nn.Linear
    assert odd.training


def test_tensors_of_no_module_are_counted() -> None:
    model, free = net(), torch.zeros(3, requires_grad=True)
    found = find_models([torch.optim.SGD([free, *model.parameters()], lr=0.1)], None)
    assert found.outside == 1
    assert find_models([torch.optim.SGD([free], lr=0.1)], None).model is None


def test_names_that_a_module_cannot_have_are_replaced() -> None:
    keys = net()
    found = find_models([sgd(keys)], sys._getframe())
    assert list(found.models) == ["keys_0"]
    other = net()
    found = find_models([sgd(keys), sgd(other)], sys._getframe())
    assert list(found.models) == ["keys_0", "other"]
    assert found.model is not None


def test_a_called_model_is_found_that_the_garbage_collector_does_not_list() -> None:
    model = net()
    optimizer = sgd(model)
    gc.collect()
    gc.freeze()
    try:
        assert find_models([optimizer], None).model is None
        found = find_models([optimizer], sys._getframe(), model)
    finally:
        gc.unfreeze()
    assert found.models == {"model": model}


def test_names_are_those_of_functions_attributes_and_the_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.critic = net()
            self._private = net()

        def fit(self, actor: nn.Module, objects: list[object]) -> dict[int, str]:
            del actor
            return variable_names(sys._getframe(), objects)

    trainer, policy = Trainer(), net()
    monkeypatch.setattr(sys.modules["__main__"], "of_main", in_main := net(), raising=False)
    names = trainer.fit(policy, [policy, in_main, trainer.critic, trainer._private])
    del trainer._private
    assert names[id(policy)] in ("actor", "policy")
    assert names[id(in_main)] == "of_main"
    assert names[id(trainer.critic)] == "critic"
    assert len(names) == 3


def test_children_of_the_module_that_is_self_have_their_names() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = net()

        def names(self) -> dict[int, str]:
            return variable_names(sys._getframe(), [self.body])

    assert list(Module().names().values()) == ["body"]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="each call of locals() returns a dict of its own")
def test_reading_names_leaves_no_trace_in_the_script() -> None:
    class Big:
        pass

    def script() -> tuple[list[str], bool]:
        model, big = net(), Big()
        reference = weakref.ref(big)
        names = variable_names(sys._getframe(), [model])
        del big
        return list(names.values()), reference() is None

    def with_a_dict() -> list[object]:
        width = 3
        config = locals()
        model = net()
        variable_names(sys._getframe(), [model])
        return [*config, width]

    assert script() == (["model"], True)
    assert with_a_dict() == ["width", 3]
