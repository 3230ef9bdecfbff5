# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ase==3.29.0",
#     "numpy==2.4.6",
#     "safetensors==0.8.0",
#     "tokenizers==0.23.3",
#     "torch==2.13.0",
#     "transformers==5.23.0",
# ]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""ChemBERTa: RoBERTa encoders of SMILES [Chithrananda et al., arXiv:2010.09885; Ahmad et al., arXiv:2209.01712].

`backbone` is the mean of the last hidden states over the tokens of the molecule, without the tokens that mark start,
end and padding; `first_token` is the last hidden state of the start token. Both are one row a molecule: tokens are no
atoms. No code from a hub is run: weights are safetensors or a plain state dictionary.
"""

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module

MARKS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # in RoBERTa's order


class ChemBERTa(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options, without a checkpoint: `seed`, and `config`, the arguments of RobertaConfig."""
        if checkpoint is None:
            self.tokenizer = character_tokenizer()
            torch.manual_seed(int(options["seed"]))
            config = RobertaConfig(vocab_size=len(self.tokenizer), pad_token_id=1, **options["config"])
            model = RobertaModel(config, add_pooling_layer=False)
        else:
            self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
            model = load_whole(RobertaModel, checkpoint)
        self.model = model.to(device).eval()
        self.device = device
        # Positions start behind that of the padding token.
        self.longest = model.config.max_position_embeddings - model.config.pad_token_id - 1

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, str)
        tokens = self.tokenizer(item)["input_ids"]
        if len(tokens) > self.longest:
            return f"{len(tokens)} tokens, the model reads {self.longest}"
        if self.tokenizer.unk_token_id in tokens:
            return "a part of the string is not in the vocabulary"
        if not self._content(torch.tensor(tokens)).any():
            return "an empty string"
        return None

    @torch.no_grad()
    def embed(self, inputs: Sequence[str]) -> Features:
        batch = self.tokenizer(list(inputs), padding=True, return_tensors="pt").to(self.device)
        tokens, attended = batch["input_ids"], batch["attention_mask"]
        hidden = self.model(input_ids=tokens, attention_mask=attended).last_hidden_state
        content = self._content(tokens).unsqueeze(-1)
        mean = (hidden * content).sum(dim=1) / content.sum(dim=1)
        return Features(
            {
                "backbone": Layer(mean.cpu().numpy(), level="structure"),
                "first_token": Layer(hidden[:, 0].cpu().numpy(), level="structure"),
            }
        )

    def _content(self, tokens: torch.Tensor) -> torch.Tensor:
        """Which tokens are parts of the string."""
        known = self.tokenizer
        marks = [known.bos_token_id, known.cls_token_id, known.eos_token_id, known.sep_token_id, known.pad_token_id]
        return ~torch.isin(tokens, torch.tensor([mark for mark in marks if mark is not None], device=tokens.device))

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)


def load_whole(architecture: Any, folder: Path) -> Any:
    """The encoder in `folder`, in float32. ValueError when the file lacks any of its weights."""
    model, told = architecture.from_pretrained(
        folder,
        add_pooling_layer=False,
        local_files_only=True,
        trust_remote_code=False,
        weights_only=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    missing = sorted(told["missing_keys"])
    if missing:
        raise ValueError(f"{folder.name}: the weights lack {missing[0]} and {len(missing) - 1} more")
    return model


def character_tokenizer() -> PreTrainedTokenizerFast:
    """A token a character, for networks without a vocabulary of their own."""
    characters = string.ascii_letters + string.digits + "#%()*+-./:=@[\\]$"
    vocabulary = {token: number for number, token in enumerate((*MARKS, *characters))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex("."), behavior="isolated")
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
