"""Hugging Face's networks from tiny random configs, on their own batches; left out where they are not installed."""

import math

import pytest
import torch
from journey import travel

import lottery_lib as lottery
from lottery_lib.errors import LotteryError

transformers = pytest.importorskip("transformers")

VOCABULARY, LENGTH = 30, 8
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def tokens(count=4):
    return torch.randint(3, VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(0))


def bert():
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(**SMALL, intermediate_size=32, max_position_embeddings=16, num_labels=4)
    )


def gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCABULARY, n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2
        )
    )


def vit():
    config = {key: size for key, size in SMALL.items() if key != "vocab_size"}
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(**config, intermediate_size=32, image_size=16, patch_size=8, num_labels=4)
    )


def t5():
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0,
            pad_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip


def llama():
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SMALL, intermediate_size=32, num_key_value_heads=1, bos_token_id=1, eos_token_id=2)
    )


CLASSES = torch.arange(4)
PIXELS = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
WORDS = {"input_ids": tokens(), "attention_mask": torch.ones(4, LENGTH, dtype=torch.long)}
NETWORKS = {
    "BERT": (bert, {**WORDS, "labels": CLASSES}),
    "GPT-2": (gpt2, {**WORDS, "labels": tokens()}),
    "ViT": (vit, {"pixel_values": PIXELS, "labels": CLASSES}),
    "T5": (t5, {**WORDS, "labels": tokens()}),
    "Llama": (llama, {**WORDS, "labels": tokens()}),
}


def objective(model, batch):
    return model(**batch).loss


def right(model, batches):
    """The share of labels that the largest score names."""
    hits = total = 0
    for batch in batches:
        found = model(**batch).logits.argmax(-1) == batch["labels"]
        hits, total = hits + int(found.sum()), total + found.numel()
    return hits / total


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_on_encoded_batches(name, tmp_path):
    make, batch = NETWORKS[name]
    halves = [{key: part[k : k + 2] for key, part in batch.items()} for k in (0, 2)]
    data = lottery.own([transformers.BatchEncoding(half) for half in halves], [batch])

    def again(model, data):
        scores, labels = model(**batch).logits.flatten(0, -2).tolist(), batch["labels"].flatten().tolist()
        hits = [row.index(max(row)) == label for row, label in zip(scores, labels)]
        return sum(hits) / len(hits)

    travel(make, data, tmp_path, "val_metric", again, objective=objective, metric=right)


def test_the_loss_of_a_language_model_is_that_of_its_next_tokens(tmp_path):
    """Perplexity, by Python's own logarithms."""
    make, batch = NETWORKS["GPT-2"]
    data = lottery.own(batch, batch)

    def again(model, data):
        scores, words = model(**batch).logits.double(), batch["input_ids"]
        logs = []
        for row, text in zip(scores.tolist(), words.tolist()):
            for place, word in zip(row, text[1:]):
                logs.append(math.log(sum(map(math.exp, place))) - place[word])
        return sum(logs) / len(logs)

    travel(make, data, tmp_path, "val_loss", again, objective=objective)


def test_batches_without_an_objective_say_what_to_do():
    make, batch = NETWORKS["BERT"]
    said = (
        "^batches have keys input_ids, attention_mask, labels, and a loss takes \\(inputs, labels\\); give an objective"
    )
    with pytest.raises(LotteryError, match=said):
        lottery.train(make(), lottery.own(batch), lottery.Recipe(epochs=1))
