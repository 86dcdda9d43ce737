"""Watch whatever the script trains: find its optimizers and models, and stop it after a step.

Optimizers are known from their construction on. The watch begins at the next forward pass with gradients, so that it
records the order of the layers and the first step. If an optimizer appears later, gets another group of parameters, or
steps without being known, the watch begins anew with all optimizers that are still alive.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, ModuleType
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from sweeper.auto.losses import NAME, BackwardLosses
from sweeper.auto.models import Found, find_models, variable_names
from sweeper.auto.replacing import call_after, replace
from sweeper.auto.session import Session
from sweeper.auto.stop import StopPoint, leave
from sweeper.record.events import Resumed
from sweeper.record.on_spike import OnSpike
from sweeper.worker.guard import Guard, gradient_norm
from sweeper.worker.ranks import Ranks
from sweeper.worker.recorder import Recorder
from sweeper.worker.spikes import GRADIENT_NORM
from sweeper.worker.trial import Trial, recorder_of
from sweeper.worker.watch.forward.losses import CHECKED
from sweeper.worker.watch.forward.wrapping import relay
from sweeper.worker.watch.scaler import scale_of, skips
from sweeper.worker.watch.watch import Watch

EVERY = 10
"""Number of optimizer steps from one observation to the next."""


class Training:
    """The automatic watch of the optimizers of this process."""

    def __init__(self, session: Session) -> None:
        """Wrap the constructor of optimizers, and register hooks for all of them."""
        self._session = session
        self._optimizers: list[weakref.ref[torch.optim.Optimizer]] = []
        self._known: set[int] = set()
        self._watched: list[weakref.ref[torch.optim.Optimizer]] = []
        self._is_outdated = False
        self._names: Mapping[int, str] = {}
        self._step = 0
        self._stop: StopPoint | None = None
        self._guard: Guard | None = None
        self._forward: Any = None
        self._is_open = True
        guarded, optimizers = session.guarded, torch.optim.Optimizer
        for name in CHECKED:
            relay(name)
        self._losses = BackwardLosses(
            self._before_backward, lambda optimizer: self._names.get(id(optimizer), ""), session
        )
        self._ends: list[Callable[[], object]] = [
            call_after(optimizers, "__init__", lambda one: guarded("finding optimizers", self._made, one)),
            call_after(optimizers, "add_param_group", lambda one: guarded("finding optimizers", self._grown, one)),
            register_optimizer_step_pre_hook(
                lambda optimizer, *_: guarded("watching", self._before_step, optimizer)
            ).remove,
            register_optimizer_step_post_hook(lambda *_: self._after_step()).remove,
        ]
        session.on_hand_over(self.close)
        session.on_end(self._losses.flush)
        session.on_exit(self._note_unseen)

    def close(self) -> None:
        """End the watch. What was recorded so far stays."""
        self._end_watch()
        self._losses.close()

    def leave_to_callback(self, trial: Trial) -> None:
        """Leave watching and stopping to the callback of a framework, and record the losses only."""
        self._end_watch()
        recorder = recorder_of(trial)
        self._losses.begin(recorder)
        _handle_sigterm(recorder)  # Lightning handles it itself, and its callback replaces that

    def _note_unseen(self) -> None:
        """Note the optimizers that were made and never watched, so that their absence has a reason."""
        made = _living(self._optimizers)
        if self._is_open and made and not self._watched and not self._session.is_silent:
            names = ", ".join(type(one).__name__ for one in made)
            self._session.note(f"no step of {names} was seen; steps in compiled code cannot be watched")

    @property
    def is_idle(self) -> bool:
        """Whether this process has made no optimizer so far."""
        return not self._optimizers

    @property
    def counts_steps(self) -> bool:
        """Whether optimizer steps, or backward calls, are counted."""
        return self._stop is not None or not self._is_open

    def _end_watch(self) -> None:
        self._is_open = False
        self._disarm()
        for end in self._ends:
            end()
        self._ends.clear()
        if self._watched and (recorder := self._session.recorder) is not None and recorder.watch is not None:
            recorder.watch.close()
        self._watched.clear()

    # ---- when the watch begins --------------------------------------------------------------------------------------

    def _made(self, optimizer: torch.optim.Optimizer) -> None:
        key, known = id(optimizer), self._known
        if key in known:
            return
        known.add(key)
        # The id of an optimizer that is gone may be used again.
        self._optimizers.append(weakref.ref(optimizer, lambda _: known.discard(key)))
        self._arm()

    def _grown(self, optimizer: torch.optim.Optimizer) -> None:
        """Watch anew after an optimizer got another group of parameters. While it is constructed, it is not known."""
        if id(optimizer) in self._known:
            self._is_outdated = True
            self._arm()

    def _arm(self) -> None:
        if self._forward is None and not self._session.is_silent:
            self._forward = register_module_forward_pre_hook(self._before_forward)

    def watch_compiled(self, compiler: ModuleType) -> None:
        """Begin the watch before the call of a compiled module, which warns of hooks that all modules have."""

        def call(original: Callable[..., object], module: torch.nn.Module, *args: Any, **kwargs: Any) -> object:
            if torch.compiler.is_compiling() or self._forward is None:
                return original(module, *args, **kwargs)
            self._disarm()
            if torch.is_grad_enabled():
                self._session.guarded("watching", self._begin, module)
                return original(module, *args, **kwargs)
            try:
                return original(module, *args, **kwargs)
            finally:
                self._arm()

        replace(compiler.OptimizedModule, "__call__", call)

    def _disarm(self) -> None:
        if self._forward is not None:
            self._forward.remove()
            self._forward = None

    def _before_forward(self, module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        # In compiled code, this hook is a constant that does nothing. The watch then begins with the first step.
        if torch.compiler.is_compiling() or not torch.is_grad_enabled() or any(map(_has_lazy, self._alive())):
            return
        hooks = module._forward_pre_hooks  # noqa: SLF001 - they have no public name
        before = set(hooks)
        self._session.guarded("watching", functools.partial(self._begin, called=module))
        # The call of this module has collected its hooks already, so the new ones are called here.
        for key, hook in list(hooks.items()):
            if key not in before:
                with_keywords: Any = hook
                self._session.guarded("watching", with_keywords, module, args, {})

    def _before_step(self, optimizer: torch.optim.Optimizer) -> None:
        if not torch.compiler.is_compiling():
            self._made(optimizer)
            if self._forward is not None:
                self._begin()

    def _begin(self, called: torch.nn.Module | None = None) -> None:
        """Begin to watch all optimizers that are alive, if they are not watched already.

        Args:
            called: the module with the forward pass that begins; None at a step.
        """
        self._disarm()
        is_outdated, self._is_outdated = self._is_outdated, False
        if not self._alive() or (not is_outdated and _same(self._alive(), _living(self._watched))):
            return
        if (trial := self._session.trial) is None:
            self.close()
            return
        recorder = recorder_of(trial)
        if recorder.watch is not None:
            recorder.watch.close()
            recorder.watch = None  # it may hold the last references to optimizers that the script has deleted
        if not (optimizers := self._alive()):
            return
        frame = sys._getframe(1)  # noqa: SLF001 - `inspect` would load much more
        guarded = self._session.guarded
        found = guarded("finding models", find_models, optimizers, frame, called) or Found(models={}, outside=0)
        before, self._watched = _living(self._watched), [weakref.ref(one) for one in optimizers]
        if self._stop is None:
            _resume(recorder, optimizers)
        self._names = _names_of(optimizers, frame)
        watch = None
        if found.model is not None:  # whether a module is true may depend on its length
            watch = guarded("watching layers", self._watch, found.model, optimizers, recorder)
        recorder.watch = watch = watch or self._watch(torch.nn.ModuleDict(), optimizers, recorder)
        watch.assume_idle(before)  # a new optimizer often begins another phase of training
        if recorder.spikes.action is OnSpike.SKIP:
            self._guard = self._guard or Guard(recorder, Ranks())
            watch.may_step = self._may_step
        self._step = recorder.next_step
        self._losses.begin(recorder, at_forward=called is not None)
        self._prepare_stop(recorder)
        self._session.infer("optimizers", [f"{self._names[id(one)]} ({type(one).__name__})" for one in optimizers])
        self._session.infer("models", [f"{name} ({type(model).__name__})" for name, model in found.models.items()])
        if found.outside:
            self._session.note(f"{found.outside} trained tensors belong to no module, so they are not watched")

    def _alive(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers that do steps themselves."""
        alive = _living(self._optimizers)
        return [one for one in alive if not _wraps_another(one, alive)]

    def _watch(self, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], recorder: Recorder) -> Watch:
        return Watch(
            model,
            optimizers,
            recorder,
            file=recorder.attempt.layers if recorder.writes else None,
            every=EVERY,
            statistics="full",
            layers=None,
            include_bias=False,
            on_failure=lambda error: self._session.note_failure("observing layers", error),
        )

    def _may_step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether the optimizer is to make its step, which may have a spike."""
        return self._session.guarded("looking for spikes", self._has_no_spike, optimizer) is not False

    def _has_no_spike(self, optimizer: torch.optim.Optimizer) -> bool:
        recorder, guard = self._session.recorder, self._guard
        found_inf = skips(optimizer)
        if recorder is None or guard is None or (found_inf is not None and bool(found_inf)):
            return True  # a gradient scaler lowers its scale and skips the step by itself
        ending = f"/{self._names.get(id(optimizer), '')}" if len(self._watched) > 1 else ""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        values = {
            f"{NAME}{ending}": self._losses.current,
            f"{GRADIENT_NORM}{ending}": gradient_norm(parameters, scale_of(optimizer)),
        }
        known = {name: value for name, value in values.items() if value is not None}
        return guard.may_step(known, step=recorder.next_step)

    # ---- the end of a step ------------------------------------------------------------------------------------------

    def _before_backward(self) -> None:
        """Begin with the losses of a script that has no optimizer. It is stopped between two backward calls."""
        if not self._is_open or self._optimizers or self._session.is_silent:
            return
        if self._stop is not None:
            self._stop_if_asked()
            return
        if (trial := self._session.trial) is None:
            self.close()
            return
        recorder = recorder_of(trial)
        self._losses.begin(recorder, each_call_is_a_step=True)
        self._prepare_stop(recorder)
        self._session.note("there is no optimizer, so each backward call counts as a step, and no layers are watched")

    def _after_step(self) -> None:
        recorder = self._session.recorder if self._watched else None
        if recorder is not None and recorder.next_step != self._step and not torch.compiler.is_compiling():
            self._step = recorder.next_step
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        recorder = self._session.recorder
        if recorder is None or self._stop is None or not recorder.should_stop():
            return
        if self._stop.reached(recorder.next_step - 1):
            recorder.stopping = True
            leave()

    def _prepare_stop(self, recorder: Recorder) -> None:
        if self._stop is None:
            self._stop = StopPoint(recorder.attempt, is_first=recorder.writes)
            if reason := _handle_sigterm(recorder):
                self._session.note(reason)


def _resume(recorder: Recorder, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Count on from the step at which the script resumed by itself, as the state of its optimizers has it.

    The states of Adam and its relatives count steps; that of SGD does not, and a resumed script then counts from 0.
    """
    may_resume = recorder.attempt.number > 1 or recorder.facts.derived is not None
    if may_resume and (done := min(map(_steps_done, optimizers))) > 0:
        recorder.append(Resumed(step=done - 1), sync=True)
        recorder.next_step = done


def _steps_done(optimizer: torch.optim.Optimizer) -> int:
    counted = [state["step"] for state in optimizer.state.values() if isinstance(state, dict) and "step" in state]
    return max((int(step) for step in counted), default=0)


def _handle_sigterm(recorder: Recorder) -> str:
    """Make SIGTERM request a stop. Return why it does not, or an empty string."""
    if threading.current_thread() is not threading.main_thread():
        return "the script trains outside the main thread, so a stop ends it at once"
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return "the script handles SIGTERM itself, so it decides when it stops"
    signal.signal(signal.SIGTERM, recorder.request_stop)
    return ""


def _living(references: Sequence[weakref.ref[torch.optim.Optimizer]]) -> list[torch.optim.Optimizer]:
    return [one for one in (reference() for reference in references) if one is not None]


def _names_of(optimizers: Sequence[torch.optim.Optimizer], frame: FrameType) -> dict[int, str]:
    """Return a name for each optimizer by its id: that of the script's variable, else its class and position."""
    names = variable_names(frame, optimizers)
    return {
        id(one): names.get(id(one), f"{type(one).__name__}_{index}".lower()) for index, one in enumerate(optimizers)
    }


def _wraps_another(optimizer: torch.optim.Optimizer, others: Sequence[torch.optim.Optimizer]) -> bool:
    """Return whether an optimizer has another one as an attribute, which does its steps, as SAM has."""
    return any(value is other for value in vars(optimizer).values() for other in others if other is not optimizer)


def _has_lazy(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a parameter has no shape before the first forward pass is over."""
    return any(torch.nn.parameter.is_lazy(p) for group in optimizer.param_groups for p in group["params"])


def _same(first: Sequence[object], second: Sequence[object]) -> bool:
    return len(first) == len(second) and all(one is other for one, other in zip(first, second, strict=True))
