"""ChemBERTa's adapter on small networks that transformers itself saved."""

from pathlib import Path

import pytest

from benchmark.embedding.conformance import run_conformance
from benchmark.embedding.extraction import EmbeddingSettings
from benchmark.submission import Entry, HuggingFaceCheckpoint, load_family
from tests.submissions.inside import ROOT, run_inside

pytestmark = pytest.mark.slow
FAMILY = load_family(ROOT / "submissions/strings")

SAVE_AND_LOAD = """
import shutil, torch
from safetensors.torch import load_file, save_file
from transformers import RobertaConfig, RobertaForMaskedLM

folder, names = Path(arguments[0]), json.loads(arguments[1])
tokenizer = adapter.character_tokenizer()
torch.manual_seed(1)
config = RobertaConfig(
    vocab_size=len(tokenizer), hidden_size=384, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=40, type_vocab_size=1, pad_token_id=1,
)
whole = RobertaForMaskedLM(config).eval()
whole.save_pretrained(folder)
tokenizer.save_pretrained(folder)

smiles = ["CCO", "c1ccccc1O", "CC(=O)N[C@@H](C)C#N", "F"]
model = adapter.ChemBERTa()
model.load(folder, {}, "cpu")
layers = model.embed(smiles).layers
with torch.no_grad():
    hidden = [whole.roberta(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in smiles]
means = torch.stack([states[1:-1].mean(dim=0) for states in hidden])
starts = torch.stack([states[0] for states in hidden])

# The same as a plain state dictionary, with the other files that the repositories hold.
plain = folder.with_name("plain")
shutil.copytree(folder, plain)
(plain / "model.safetensors").unlink()
torch.save(whole.state_dict(), plain / "pytorch_model.bin")
for name in names:
    (plain / name).touch()
(plain / "added_tokens.json").write_text("{}")
(plain / "special_tokens_map.json").write_text("{}")
model.load(plain, {}, "cpu")
again = model.embed(smiles).layers["backbone"].values

lacking = {name: values for name, values in load_file(folder / "model.safetensors").items() if "layer.1." not in name}
save_file(lacking, folder / "model.safetensors", {"format": "pt"})
try:
    model.load(folder, {}, "cpu")
    refused = ""
except ValueError as error:
    refused = str(error)

report({
    "levels": [layer.level for layer in layers.values()],
    "backbone": np.abs(layers["backbone"].values - means.numpy()).max(),
    "first_token": np.abs(layers["first_token"].values - starts.numpy()).max(),
    "plain": np.abs(layers["backbone"].values - again).max(),
    "refused": refused,
    "unsupported": [model.unsupported(text) for text in ("C" * 60, "C\\u00e9", "", "CCO")],
})
"""


def test_features_are_means_over_the_molecule_s_own_tokens(real_work: Path, tmp_path: Path) -> None:
    checkpoint = FAMILY.submission.models[0].checkpoint
    assert isinstance(checkpoint, HuggingFaceCheckpoint) and checkpoint.files is not None
    folder = tmp_path / "tiny"
    found = run_inside("strings", real_work, SAVE_AND_LOAD, str(folder), "[]")
    assert found["levels"] == ["structure", "structure"]
    assert found["backbone"] < 1e-5
    assert found["first_token"] < 1e-5
    assert found["plain"] == 0
    assert "the weights lack encoder.layer.1." in found["refused"]
    long, strange, empty, fine = found["unsupported"]
    assert "62 tokens, the model reads 38" in long
    assert "vocabulary" in strange and "empty" in empty and fine is None


def test_a_folder_given_as_checkpoint_conforms(real_work: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    run_inside("strings", real_work, SAVE_AND_LOAD, str(folder), "[]")
    entry = Entry(FAMILY, FAMILY.submission.models[0])
    checkpoint = entry.model.checkpoint
    assert isinstance(checkpoint, HuggingFaceCheckpoint) and checkpoint.files is not None
    plain = folder.with_name("plain")
    for name in checkpoint.files:
        (plain / name).touch()
    settings = EmbeddingSettings(real_work, accelerator="cpu", threads=1, checkpoints={entry.model.id: plain})
    outcomes = {check.id: check for check in run_conformance(entry, settings)}
    assert {id: check.detail for id, check in outcomes.items() if check.status == "failed"} == {}
    assert outcomes["sensitivity"].status == outcomes["batch_size"].status == "passed"
