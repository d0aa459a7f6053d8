"""Faster training steps on a CPU: the loss of the answers only, a fused LoRA layer, and bf16 where it is faster.

Without Triton, trl's loss scores every position of a padded batch, including prompt and padding, and peft's LoRA copies
each layer's input to fp32. On a CPU the two take most of the memory and half of the time. The functions here compute
the same sums (a test compares losses and gradients). A model with a different structure is left to trl and peft.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from twin_assets.training.process.examples import IGNORED

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

CHUNK_BYTES = 64 * 2**20
"""At most this many bytes of fp32 logits are held at a time."""

BF16_PARAMETERS = 50_000_000
"""A model with fewer parameters fits into the processor's caches and gains nothing from bf16."""

Undo = Callable[[], None]


def computes_in_bf16(setting: str, model: "PreTrainedModel") -> bool:
    """True if a training on the CPU should compute in bf16. setting: the recipe's `compute`."""
    if setting != "auto":
        return setting == "bf16"
    able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return able and model.num_parameters() >= BF16_PARAMETERS


class _AnswerNll(torch.autograd.Function):
    """The summed cross-entropy of `hidden @ weight.T + bias`, in chunks of rows; only `hidden` gets a gradient.

    The gradient is computed in the forward pass, so that no logits are kept or computed twice.
    See: Hsu et al. 2024, Liger Kernel, section 3.2.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if needs_gradient else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        n_rows = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
        for start in range(0, hidden.shape[0], n_rows):
            rows = slice(start, start + n_rows)
            logits = functional.linear(hidden[rows], weight, bias)
            log_p = functional.log_softmax(logits, dim=-1, dtype=torch.float32)
            wanted = targets[rows, None]
            total -= log_p.gather(1, wanted).sum()
            if gradient is not None:
                p = log_p.exp_()
                p.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=p.dtype))
                torch.mm(p.to(weight.dtype), weight, out=gradient[rows])
        ctx.gradient = gradient
        return total

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, None, None, None]:
        return (None if ctx.gradient is None else ctx.gradient * given[0]), None, None, None


def answer_nll(model: "PreTrainedModel", batch: Mapping[str, Tensor]) -> Tensor:
    """Negative log-likelihood in nats, summed over the labels of a batch that are not `IGNORED`.

    batch: `input_ids` and `labels` of shape (windows, tokens), and `attention_mask` if there is padding. model: one for
    which `head_is_plain` is true.
    """
    backbone, head = model.base_model, model.get_output_embeddings()
    hidden = backbone(**{k: v for k, v in batch.items() if k != "labels"}, use_cache=False).last_hidden_state
    targets = batch["labels"][:, 1:]
    learned = targets != IGNORED
    total: Tensor = _AnswerNll.apply(hidden[:, :-1][learned], head.weight, head.bias, targets[learned])  # type: ignore[no-untyped-call]
    return total


def head_is_plain(model: "PreTrainedModel") -> bool:
    """True if the model's logits are nothing but its last hidden states times the frozen head.

    The model is run and compared to the last bit, because some models cap, scale or route their logits, and each names
    that differently in its configuration.
    """
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or head.weight.requires_grad or model.base_model is model:
        return False
    ids = torch.arange(8, device=head.weight.device)[None] % model.get_input_embeddings().num_embeddings
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            return torch.equal(head(hidden), logits)
    finally:
        model.train(was_training)


class _LoraLinear(torch.autograd.Function):
    """`x @ weight.T + bias + scaling * (x @ a.T) @ b.T` with a frozen weight; it keeps `x` and no copy of it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        rows, low_a, low_b = x.reshape(-1, x.shape[-1]), a.to(x.dtype), b.to(x.dtype)
        down = rows @ low_a.t()
        result = functional.linear(rows, weight, bias).addmm_(down, low_b.t(), alpha=scaling)
        ctx.save_for_backward(rows, weight, down, low_a, low_b)
        ctx.scaling, ctx.shape, ctx.dtypes = scaling, x.shape, (a.dtype, b.dtype)
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        rows, weight, down, a, b = ctx.saved_tensors
        up = given[0].reshape(-1, given[0].shape[-1])
        low = (up @ b) * ctx.scaling
        gradient_a = (low.t() @ rows).to(ctx.dtypes[0])
        gradient_b = ((up.t() @ down) * ctx.scaling).to(ctx.dtypes[1])
        gradient = (up @ weight).addmm_(low, a).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return gradient, None, None, gradient_a, gradient_b, None


def fuse_lora(model: "PeftModel") -> Undo:
    """Give the model's plain LoRA layers a fused forward method. Returns a function that undoes it.

    A layer is plain if it wraps a frozen torch Linear and its adapter has no dropout, no DoRA and no bias. Other layers
    stay as they are.
    """
    from peft.tuners.lora.layer import Linear

    fused = []
    for module in model.modules():
        if type(module) is Linear and _is_plain(module):
            module.forward = partial(_fused_forward, module)
            fused.append(module)

    def undo() -> None:
        for module in fused:
            del module.forward

    return undo


def _is_plain(module: Any) -> bool:
    base, names = module.base_layer, list(module.active_adapters)
    return (
        len(names) == 1
        and type(base) is nn.Linear
        and not base.weight.requires_grad
        and names[0] in module.lora_A
        and names[0] not in module.lora_variant
        and isinstance(module.lora_dropout[names[0]], nn.Identity)
        and module.lora_A[names[0]].bias is None
        and module.lora_B[names[0]].bias is None
    )


def _fused_forward(module: Any, x: Tensor) -> Tensor:
    name = module.active_adapters[0]
    if module.disable_adapters or module.merged:
        return type(module).forward(module, x)  # type: ignore[no-any-return]
    base, a, b = module.base_layer, module.lora_A[name].weight, module.lora_B[name].weight
    result: Tensor = _LoraLinear.apply(x, base.weight, base.bias, a, b, module.scaling[name])  # type: ignore[no-untyped-call]
    return result
