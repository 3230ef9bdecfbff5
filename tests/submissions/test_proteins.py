"""ESM-2's adapter on a small network that transformers itself saved."""

from pathlib import Path

import pytest

from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.submission import Entry, load_family
from tests.submissions.inside import ROOT, run_inside

pytestmark = pytest.mark.slow
FAMILY = load_family(ROOT / "submissions/proteins")

SAVE_AND_LOAD = """
import torch
from transformers import EsmConfig, EsmForMaskedLM

folder = Path(arguments[0])
tokenizer = adapter.own_tokenizer()
torch.manual_seed(1)
config = EsmConfig(
    vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_token_id, mask_token_id=tokenizer.mask_token_id,
    hidden_size=320, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, token_dropout=True,
    position_embedding_type="rotary", emb_layer_norm_before=False, max_position_embeddings=1026,
)
whole = EsmForMaskedLM(config).eval()
whole.save_pretrained(folder)
tokenizer.save_pretrained(folder)
(folder / "special_tokens_map.json").write_text("{}")

sequences = ["MKTAYIAKQR", "GIGKFLHSAKKFGKAFVGEIMNS", "W"]
model = adapter.ESM2()
model.load(folder, {}, "cpu")
layer = model.embed(sequences).layers["backbone"]
with torch.no_grad():
    hidden = [whole.esm(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in sequences]
means = torch.stack([states[1:-1].mean(dim=0) for states in hidden])
report({
    "level": layer.level,
    "backbone": np.abs(layer.values - means.numpy()).max(),
    "unsupported": [model.unsupported(text) for text in ("MK-LJ", "", "MKT")],
})
"""


def test_features_are_means_over_residues_and_a_folder_given_as_checkpoint_conforms(
    real_work: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    found = run_inside("proteins", real_work, SAVE_AND_LOAD, str(folder))
    assert found["level"] == "structure"
    assert found["backbone"] < 1e-5
    strange, empty, fine = found["unsupported"]
    assert "'J'" in strange and "empty" in empty and fine is None

    entry = Entry(FAMILY, FAMILY.submission.models[0])
    settings = EmbeddingSettings(real_work, accelerator="cpu", threads=1, checkpoints={entry.model.id: folder})
    outcomes = {check.id: check for check in run_conformance(entry, settings)}
    assert {id: check.detail for id, check in outcomes.items() if check.status == "failed"} == {}
    assert outcomes["sensitivity"].status == outcomes["batch_size"].status == "passed"
