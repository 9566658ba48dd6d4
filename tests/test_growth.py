"""Weights that go on in a world with more words."""

from __future__ import annotations

from typing import Any

import torch
from filmwright.generator.text import build_text_encoder, build_tokenizer, embed, tokenize
from filmwright.storyboard.vocabulary import NAMES, PROPS, Vocabulary
from filmwright.training.clip import build_clip, grown_clip
from filmwright.training.growth import grow, shared_rows, words_of

CAPTION = "cut . wide shot , forest , day , camera still : red plain fox with hat runs left ."


def fewer_words() -> Any:
    """A tokenizer without props and names, whose ids are others."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", *reversed(Vocabulary(names=(), props=()).words())]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def test_a_text_encoder_says_the_same_of_words_it_knew() -> None:
    torch.manual_seed(0)
    before, after = fewer_words(), build_tokenizer()
    trained, fresh = build_text_encoder(len(before)).eval(), build_text_encoder(len(after)).eval()
    grow(fresh, trained.state_dict(), lambda name: shared_rows(words_of(after), words_of(before)))
    with torch.no_grad():
        said, again = (
            embed(net, *tokenize(words, [CAPTION], 30)) for net, words in ((trained, before), (fresh, after))
        )
    assert torch.equal(said, again)
    assert len(after) == len(before) + len(NAMES) + len(PROPS)


def test_a_clip_sees_the_same_in_words_it_knew(tmp_path: Any) -> None:
    torch.manual_seed(0)
    before, after = fewer_words(), build_tokenizer()
    trained = build_clip(len(before)).eval()
    trained.save_pretrained(tmp_path)
    fresh = grown_clip(tmp_path, words_of(before), after).eval()
    with torch.no_grad():
        said, again = (
            net.get_text_features(
                **dict(zip(("input_ids", "attention_mask"), tokenize(words, [CAPTION], 30), strict=True))
            )
            for net, words in ((trained, before), (fresh, after))
        )
    said, again = (value if torch.is_tensor(value) else value.pooler_output for value in (said, again))
    assert torch.allclose(said, again, atol=1e-6)
