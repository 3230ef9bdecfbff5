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
"""ESM-2: encoders of protein sequences [Lin et al., Science 379, 1123 (2023)].

`backbone` is the mean of the last hidden states, after the final layer normalisation, over the residues: the tokens
that mark start, end and padding are left out. One row a sequence. The attention mask is always given: the network
rescales its token embeddings by the share of masked tokens and would count padding.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms
from transformers import EsmConfig, EsmModel, EsmTokenizer
from transformers.models.esm.configuration_esm import get_default_vocab_list

from benchmark.adapter import Adapter, Features, Layer, Options, perturb_torch_module


class ESM2(Adapter):
    def load(self, checkpoint: Path | None, options: Options, device: str) -> None:
        """Options, without a checkpoint: `seed`, and `config`, the arguments of EsmConfig."""
        if checkpoint is None:
            self.tokenizer = own_tokenizer()
            torch.manual_seed(int(options["seed"]))
            known = self.tokenizer
            config = EsmConfig(
                vocab_size=known.vocab_size,
                pad_token_id=known.pad_token_id,
                mask_token_id=known.mask_token_id,
                **options["config"],
            )
            model = EsmModel(config, add_pooling_layer=False)
        else:
            self.tokenizer = EsmTokenizer.from_pretrained(checkpoint, local_files_only=True)
            model = load_whole(checkpoint)
        self.model = model.to(device).eval()
        self.device = device
        self.rotary = model.config.position_embedding_type == "rotary"

    def unsupported(self, item: Atoms | str) -> str | None:
        assert isinstance(item, str)
        if not item:
            return "an empty sequence"
        unknown = sorted({letter for letter in item if letter not in self.tokenizer.all_tokens})
        if unknown:
            return f"{unknown[0]!r} is no residue in the vocabulary"
        longest = self.model.config.max_position_embeddings - self.model.config.pad_token_id - 1
        if not self.rotary and len(item) + 2 > longest:
            return f"{len(item)} residues, the model reads {longest - 2}"
        return None

    @torch.no_grad()
    def embed(self, inputs: Sequence[str]) -> Features:
        batch = self.tokenizer(list(inputs), padding=True, return_tensors="pt").to(self.device)
        tokens, attended = batch["input_ids"], batch["attention_mask"]
        hidden = self.model(input_ids=tokens, attention_mask=attended).last_hidden_state
        known = self.tokenizer
        marks = torch.tensor([known.cls_token_id, known.eos_token_id, known.pad_token_id], device=self.device)
        residues = (~torch.isin(tokens, marks)).unsqueeze(-1)
        mean = (hidden * residues).sum(dim=1) / residues.sum(dim=1)
        return Features({"backbone": Layer(mean.cpu().numpy(), level="structure")})

    def perturb_weights(self, scale: float, seed: int) -> bool:
        return perturb_torch_module(self.model, scale, seed)


def load_whole(folder: Path) -> EsmModel:
    """The encoder in `folder`, in float32. ValueError when the file lacks any of its weights."""
    model, told = EsmModel.from_pretrained(
        folder,
        add_pooling_layer=False,
        local_files_only=True,
        trust_remote_code=False,
        weights_only=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    # The heads for contacts belong to another task, and rotary positions are computed, not learned.
    missing = sorted(
        key for key in told["missing_keys"] if not key.startswith("contact_head.") and "inv_freq" not in key
    )
    if missing:
        raise ValueError(f"{folder.name}: the weights lack {missing[0]} and {len(missing) - 1} more")
    return model


def own_tokenizer() -> EsmTokenizer:
    """The tokenizer of all ESM-2 checkpoints, from the vocabulary that the package holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(get_default_vocab_list()))
        return EsmTokenizer(str(path))
