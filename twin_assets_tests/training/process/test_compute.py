"""The CPU's ways of computing give the sums that transformers and peft give."""

import pytest
import torch
from torch.testing import assert_close

from twin_assets.training.process.compute import _AnswerNll, answer_nll, computes_in_bf16, fuse_lora, head_is_plain
from twin_assets.training.process.trainer import collated, n_learned, padded_batches


def windows(vocabulary: int = 1024) -> list[dict]:
    chance = torch.Generator().manual_seed(3)
    sizes = [(40, 30), (17, 5), (33, 33), (9, 1)]
    return [
        {"input_ids": torch.randint(4, vocabulary, (n,), generator=chance).tolist(), "learned": learned}
        for n, learned in sizes
    ]


def with_lora(folder, dropout: float = 0.0):
    """The model in fp32 with an adapter whose B is not zero, as after some steps."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model.eval()


def gradients(model) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return found


def plain_loss_and_gradients(model) -> tuple[float, dict[str, torch.Tensor]]:
    """transformers' own loss of one padded batch, and what peft's own layers make of it."""
    batch = collated(windows(), 0)
    loss = model(**batch).loss
    loss.backward()
    return float(loss), gradients(model)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("max_tokens", [1, 70, 10_000])
def test_loss_and_gradients_are_those_of_transformers(make_tiny_model, architecture, max_tokens):
    model = with_lora(make_tiny_model(architecture))
    expected, expected_gradients = plain_loss_and_gradients(model)
    assert head_is_plain(model.get_base_model())
    fuse_lora(model)
    batches = padded_batches(windows(), 0, max_tokens)
    losses = [answer_nll(model.get_base_model(), batch) / n_learned(batches) for batch in batches]
    for loss in losses:
        loss.backward()
    assert float(sum(losses)) == pytest.approx(expected, rel=1e-5)
    assert_close(gradients(model), expected_gradients, rtol=1e-3, atol=1e-6)


def test_a_head_that_caps_its_logits_is_left_to_trl(make_tiny_model):
    capped = with_lora(make_tiny_model("gemma2")).get_base_model()
    assert capped.config.final_logit_softcapping
    assert not head_is_plain(capped)


def test_lora_in_one_piece_stands_back_for_dropout(make_tiny_model):
    model = with_lora(make_tiny_model(), dropout=0.5)
    fuse_lora(model)
    assert not [module for module in model.modules() if "forward" in vars(module)]


def test_a_switched_off_adapter_is_off(make_tiny_model):
    model = with_lora(make_tiny_model())
    batch = {"input_ids": torch.tensor([[5, 6, 7]])}
    with model.disable_adapter():
        expected = model(**batch).logits
    undo = fuse_lora(model)
    assert not torch.equal(model(**batch).logits, expected)
    with model.disable_adapter():
        assert torch.equal(model(**batch).logits, expected)
    undo()
    assert not [module for module in model.modules() if "forward" in vars(module)]


def test_logits_are_never_all_held(monkeypatch):
    from twin_assets.training.process import compute

    hidden, weight = torch.randn(50, 8, requires_grad=True), torch.randn(100, 8)
    targets = torch.randint(0, 100, (50,))
    whole = _AnswerNll.apply(hidden, weight, None, targets)
    monkeypatch.setattr(compute, "CHUNK_BYTES", 3 * 4 * 100)
    seen: list[int] = []
    real = compute.functional.linear
    monkeypatch.setattr(compute.functional, "linear", lambda x, *more: seen.append(len(x)) or real(x, *more))
    assert_close(_AnswerNll.apply(hidden, weight, None, targets), whole)
    assert max(seen) == 3


def test_the_recipe_may_say_what_a_cpu_computes_in(make_tiny_model):
    model = with_lora(make_tiny_model()).get_base_model()
    assert not computes_in_bf16("auto", model), "a tiny model gains nothing"
    assert computes_in_bf16("bf16", model)
    assert not computes_in_bf16("fp32", model)


def test_bf16_is_near_fp32_and_keeps_the_adapter_in_fp32(make_tiny_model):
    folder = make_tiny_model()
    model = with_lora(folder)
    expected, expected_gradients = plain_loss_and_gradients(model)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    fuse_lora(model)
    batch = collated(windows(), 0)
    loss = answer_nll(model.get_base_model(), batch) / n_learned([batch])
    loss.backward()
    assert float(loss) == pytest.approx(expected, rel=1e-2)
    found = gradients(model)
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    flat, expected_flat = (torch.cat([g.flatten() for g in one.values()]) for one in (found, expected_gradients))
    assert torch.cosine_similarity(flat, expected_flat, dim=0) > 0.99
