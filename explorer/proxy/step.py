"""One step of a training: forward, backward, clipping, optimizer; in parts where the memory does not hold the batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from explorer.record import Precision

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
GRADIENT_NORM = 1.0
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # whose statistics a forward pass changes


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Autocast to a precision; disabled for fp32."""
    return torch.autocast(device.type, HALF.get(precision, torch.bfloat16), enabled=precision != "fp32")


class Step:
    """Steps of one network, whose parameters are on one device.

    Where a step runs out of memory it is run again in twice as many parts, whose gradients are added up, and so are all
    that follow. The first try leaves no trace: statistics and chance are as before it. But for BatchNorm, which then
    sees a part at a time, the gradient is the whole batch's.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision, label_smoothing: float
    ) -> None:
        self.model, self.optimizer, self.precision = model, optimizer, precision
        self.network: Callable[[Tensor], Tensor] = model  # what is called: the model, or the same compiled
        self.label_smoothing = label_smoothing
        self.parameters = [one for one in model.parameters() if one.requires_grad]
        self.device = self.parameters[0].device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.parts = 1
        self._before = _Before(model, self.device)
        self._lr, self._held = 0.0, None  # type: float, Tensor | None
        self._first = True  # nothing is known of an optimizer's state before its first step

    # --- the learning rate ---

    def rate(self, lr: float) -> None:
        """Set the learning rate of the steps to come."""
        self._lr = lr
        if self._held is None:
            self._set_rate(lr)
        else:
            self._held.fill_(lr)

    def hold_rate(self) -> None:
        """Keep the learning rate in a tensor on the device from now on, from which a CUDA graph reads it."""
        self._held = torch.tensor(self._lr, device=self.device)
        self._set_rate(self._held)

    def let_rate_go(self) -> None:
        """Keep the learning rate as a number again."""
        self._held = None
        self._set_rate(self._lr)

    def _set_rate(self, lr: float | Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    # --- a step ---

    def micro_batch(self, batch_size: int) -> int:
        """How many images of a batch go through the network at a time, at most."""
        return -(-batch_size // self.parts)

    def __call__(self, images: Tensor, targets: Tensor, reads: bool = True) -> Tensor:
        """The loss, a scalar on the device, after one step; targets are classes (B,) or shares of them (B, classes).

        Without `reads`, reading from a GPU in forward or backward is an error.

        Raises:
            torch.OutOfMemoryError: the memory does not hold the step even image by image.
        """
        loss = self._tried(images, targets, reads)
        while loss is None:
            self.parts = min(2 * self.parts, len(images))
            loss = self._tried(images, targets, reads)
        return loss

    def _tried(self, images: Tensor, targets: Tensor, reads: bool) -> Tensor | None:
        """As called; None where the memory did not do, and all is as before."""
        again = self.parts < len(images)
        self.note()
        try:
            with contextlib.nullcontext() if reads else _no_reads():
                loss = self.gradients(images, targets)
            # what an optimizer has begun is not undone
            again = again and self._first and not self.scaler.is_enabled()
            self.update()
        except torch.OutOfMemoryError:
            if not again:
                raise
        else:
            return loss
        self.undo()  # outside of the handler: with the error go its frames, and with them the activations
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def note(self) -> None:
        """Keep what a step changes before the optimizer's part; no wait for the device."""
        self._first = not self.optimizer.state
        self._before.note()

    def undo(self) -> None:
        """Let all be as it was noted."""
        self.optimizer.zero_grad(set_to_none=True)
        if self._first:
            self.optimizer.state.clear()  # it may have made some of it
        self._before.restore()

    def gradients(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss; its gradients are left at the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.parts == 1:
            return self._backward(images, targets, None)
        losses = [
            self._backward(*part, len(part[0]) / len(images))
            for part in zip(images.tensor_split(self.parts), targets.tensor_split(self.parts), strict=True)
        ]
        return torch.stack(losses).sum()

    def _backward(self, images: Tensor, targets: Tensor, weight: float | None) -> Tensor:
        with autocast(self.device, self.precision):
            logits = self.network(images)  # (B, classes)
            loss = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if weight is not None:
            loss = loss * weight
        self.scaler.scale(loss).backward()
        return loss.detach()

    def update(self) -> None:
        """Clip the gradients and let the optimizer take its step; nothing is read from the device."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()


@contextlib.contextmanager
def _no_reads() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def logits_of(model: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """Logits (B, classes) in eval mode, by halves where the memory does not hold all images at once."""
    try:
        with autocast(images.device, precision):
            return model(images)
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
    # outside of the handler, as above
    return torch.cat([logits_of(model, half, precision) for half in images.tensor_split(2)])


class _Before:
    """What a forward pass changes, kept from before it: statistics of norms, and where chance stands."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.device = device
        self.chance = torch.empty(0)
        norms = (one for one in model.modules() if isinstance(one, NORMS))
        live: dict[torch.dtype, list[Tensor]] = {}
        for buffer in (buffer for norm in norms for buffer in norm.buffers()):
            live.setdefault(buffer.dtype, []).append(buffer)  # copied together, those of one type
        self.live = list(live.values())
        self.kept = [[torch.empty_like(one) for one in some] for some in self.live]

    def note(self) -> None:
        """Keep what is now; no wait for the device."""
        for kept, live in zip(self.kept, self.live, strict=True):
            torch._foreach_copy_(kept, live)
        cuda = self.device.type == "cuda"
        self.chance = torch.cuda.get_rng_state(self.device) if cuda else torch.get_rng_state()

    def restore(self) -> None:
        """Go back to what was noted."""
        for kept, live in zip(self.kept, self.live, strict=True):
            torch._foreach_copy_(live, kept)
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.chance, self.device)
        else:
            torch.set_rng_state(self.chance)
