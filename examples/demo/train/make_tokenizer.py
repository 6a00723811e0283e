# make_tokenizer.py — trains the byte-level BPE tokenizer on the world's text and writes its files.
#
# 4,096 entries: 6 special tokens, the 256 bytes, and merges. The pre-tokenizer is a Split by a
# regex of the Llama-3 kind (contractions, words with one leading character, up to three digits,
# punctuation, white space) followed by ByteLevel without its own regex.

import json
import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import chat
import world

VOCAB_SIZE = 4096
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def texts(seed=11, count=60000):
    rng = random.Random(seed)
    for _ in range(count):
        example = world.example(rng)
        for part in [example] if isinstance(example, str) else [c for _, c in example]:
            yield "\n" + part


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=chat.SPECIAL_TOKENS,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(texts(), trainer)
    # Raw completions begin with BOS; chats are encoded without it, as the template writes it.
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{chat.BOS} $A", pair=f"{chat.BOS} $A {chat.BOS}:1 $B:1",
        special_tokens=[(chat.BOS, tokenizer.token_to_id(chat.BOS))])
    assert tokenizer.get_vocab_size() == VOCAB_SIZE, tokenizer.get_vocab_size()

    chat.BASE.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(chat.BASE / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": chat.BOS, "eos_token": chat.END, "pad_token": chat.PAD,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(t)): {"content": t, "lstrip": False, "normalized": False,
                                            "rstrip": False, "single_word": False, "special": True}
            for t in chat.SPECIAL_TOKENS},
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        "chat_template": chat.TEMPLATE,
    }
    (chat.BASE / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
