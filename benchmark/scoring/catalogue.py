"""What each score means, said once.

Tables, hover texts, the methods page and `latent-matter list scores` are generated from these records. A score that
is not in `SCORES` is not published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "none"]
Group = Literal["alignment", "collapse", "representation", "cpd", "fine_tuning"]


@dataclass(frozen=True)
class ScoreDefinition:
    """One score for its readers.

    direction: which values are better; "none" where neither is.
    headline: has a ranked table of its own. overall: counts in the Borda sum.
    null: what a model without the property would get, and how that is found out.
    source: arXiv ids or other places of the definition; empty for the protocol's own.
    """

    id: str
    title: str
    group: Group
    direction: Direction
    formula: str
    reading: str
    pitfalls: str = ""
    null: str = ""
    source: str = ""
    unit: str = ""
    headline: bool = False
    overall: bool = False


_PERMUTED = "Rows of the model's features permuted against the reference's; mean, 95 % quantile and p-value are stored."
_SHUFFLED = "The same probe on shuffled targets."

_ALIGNMENT = (
    ScoreDefinition(
        id="alignment",
        title="Alignment",
        group="alignment",
        direction="higher",
        headline=True,
        overall=True,
        formula="(s − τ) / (1 − τ), s = cknna(model, reference), τ = 95 % quantile of s under permuted rows",
        reading="How far the model and the reference agree on which structures are each other's neighbours; "
        "1 is the same neighbourhoods, 0 what chance gives.",
        pitfalls="Agreement with the reference is no proof of quality. Much of it is shared composition: "
        "read it beside alignment_residual.",
        null=_PERMUTED + " On the calibrated scale the quantile is 0.",
        source="arXiv:2405.07987, calibration arXiv:2602.14486",
    ),
    ScoreDefinition(
        id="alignment_residual",
        title="Alignment without composition",
        group="alignment",
        direction="higher",
        formula="alignment of the features left after a linear fit on composition is taken out of both models",
        reading="The agreement that is not explained by both models knowing the elements.",
        pitfalls="Only what is linear in composition is taken out.",
        null=_PERMUTED,
        source="arXiv:2405.07987, arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="cknna",
        title="CKNNA",
        group="alignment",
        direction="higher",
        formula="HSICᵤ(M∘K, M∘L) / √(HSICᵤ(M_K∘K) HSICᵤ(M_L∘L)), M = M_K∘M_L: each row's k nearest neighbours",
        reading="The uncalibrated number behind alignment; 1 for identical neighbourhoods, about k/n by chance.",
        pitfalls="Depends on k and n: compare only at equal k and n.",
        null=_PERMUTED,
        source="arXiv:2405.07987",
    ),
    ScoreDefinition(
        id="mutual_knn",
        title="Mutual kNN",
        group="alignment",
        direction="higher",
        formula="mean over structures of |N_k(model) ∩ N_k(reference)| / k",
        reading="Share of a structure's k nearest neighbours that model and reference have in common.",
        pitfalls="Chance level is k/(n−1), not 0.",
        null=_PERMUTED,
        source="arXiv:2405.07987",
    ),
    ScoreDefinition(
        id="cka",
        title="Linear CKA",
        group="alignment",
        direction="higher",
        formula="HSICᵤ(K, L) / √(HSICᵤ(K, K) HSICᵤ(L, L)), K, L inner products of centred features",
        reading="Global agreement of the two inner-product matrices.",
        pitfalls="Led by the few directions of largest variance; may fall below 0 because it is unbiased.",
        null=_PERMUTED,
        source="arXiv:1905.00414, unbiased estimator: Song et al. 2012",
    ),
    ScoreDefinition(
        id="dcor",
        title="Distance correlation",
        group="alignment",
        direction="higher",
        formula="bias-corrected squared distance correlation (U-centring), Euclidean",
        reading="Any dependence, linear or not, between the distances in the two representations.",
        pitfalls="May fall below 0 because it is unbiased.",
        null=_PERMUTED,
        source="Székely and Rizzo 2014",
    ),
    ScoreDefinition(
        id="dcor_biased",
        title="Distance correlation, biased",
        group="alignment",
        direction="none",
        formula="squared distance correlation, V-statistic",
        reading="Stored for comparison with arXiv:2512.03750 only.",
        pitfalls="Grows with the width of the features: independent 512-d noise gets 0.67 at n = 1000. Never ranked.",
        null=_PERMUTED,
        source="arXiv:2512.03750",
    ),
    ScoreDefinition(
        id="information_imbalance_to_reference",
        title="Information imbalance, model → reference",
        group="alignment",
        direction="lower",
        formula="2/n · mean rank in the reference of each structure's nearest neighbour in the model (k = 1)",
        reading="0: the model's neighbours are the reference's neighbours; 1: they tell nothing about them.",
        pitfalls="Directed: a model may hold all that the reference has and more.",
        null="1 for independent features; 2/n for identical ones.",
        source="arXiv:2104.15079",
    ),
    ScoreDefinition(
        id="information_imbalance_from_reference",
        title="Information imbalance, reference → model",
        group="alignment",
        direction="lower",
        formula="2/n · mean rank in the model of each structure's nearest neighbour in the reference (k = 1)",
        reading="0: the reference's neighbours are the model's neighbours; 1: they tell nothing about them.",
        pitfalls="Directed: a model with fewer coordinates is easier to predict.",
        null="1 for independent features; 2/n for identical ones.",
        source="arXiv:2104.15079",
    ),
    ScoreDefinition(
        id="id_cor",
        title="Intrinsic-dimension correlation",
        group="alignment",
        direction="higher",
        formula="(I_A + I_B − I_AB) / max(I_A, I_B), TwoNN on z-scored features",
        reading="Share of the larger intrinsic dimension that the two representations have in common.",
        pitfalls="TwoNN is noisy at a thousand structures: read the p-value.",
        null="Rows permuted; p-value of the joint dimension.",
        source="arXiv:2406.15812",
    ),
    ScoreDefinition(
        id="gfre_to_reference",
        title="Reconstruction error, model → reference",
        group="alignment",
        direction="lower",
        formula="√(‖B − ÂB‖² / ‖B‖²) per atom on held-out structures, ridge regression; R² = 1 − gfre²",
        reading="How much of the reference's atomic features no linear map of the model's features gives.",
        pitfalls="Needs features per atom in both models.",
        null="1: no better than the mean.",
        source="Goscinski et al. 2021",
    ),
    ScoreDefinition(
        id="gfre_from_reference",
        title="Reconstruction error, reference → model",
        group="alignment",
        direction="lower",
        formula="as gfre_to_reference, the other way round",
        reading="How much of the model's atomic features no linear map of the reference's features gives.",
        pitfalls="Low for a model with few features; needs features per atom in both models.",
        null="1: no better than the mean.",
        source="Goscinski et al. 2021",
    ),
    ScoreDefinition(
        id="gfre_last_layer",
        title="Reconstruction error between last layers",
        group="alignment",
        direction="lower",
        formula="as gfre_to_reference, from the last layer of the one model to the last layer of the other",
        reading="How much of a model's last layer no linear map of another model's last layer gives.",
        pitfalls="In pairs only, in distribution, of models that store a last layer; low for one with few features.",
        null="1: no better than the mean.",
        source="Goscinski et al. 2021, arXiv:2512.05717",
    ),
    ScoreDefinition(
        id="gfre_backbone_last_layer",
        title="Reconstruction error, backbone → last layer",
        group="alignment",
        direction="lower",
        formula="as gfre_to_reference, from the features of the one model to the last layer of the other",
        reading="How much of a model's last layer no linear map of another model's features gives.",
        pitfalls="In pairs only, in distribution, of models that store a last layer; low for one with few features.",
        null="1: no better than the mean.",
        source="Goscinski et al. 2021, arXiv:2512.05717",
    ),
)

_COLLAPSE = (
    ScoreDefinition(
        id="collapse_information",
        title="OOD collapse",
        group="collapse",
        direction="lower",
        headline=True,
        overall=True,
        formula="1 − skill_O / skill_I",
        reading="Share of the readable, composition-free energy information, beyond what the best control has, that is "
        "lost from the in-distribution to the out-of-distribution set; 0: nothing lost, 1: all, negative: gained.",
        pitfalls="Not defined for a model without skill in distribution: it has no skill to lose.",
        null="Out-of-distribution target shuffled; quantile95 is the value that 95 % of the draws stay above.",
        source="arXiv:2512.03750, arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="collapse_convergence",
        title="OOD convergence, calibrated",
        group="collapse",
        direction="lower",
        formula="1 − (s_O/c_O) / (s_I/c_I)",
        reading="How much closer the models' neighbourhoods move together out of distribution, beyond how much "
        "simpler that data set is for the composition-only control.",
        pitfalls="Cannot rank: Gaussian noise has the best value, because it never converges to anything.",
        source="arXiv:2512.03750",
    ),
    ScoreDefinition(
        id="collapse_convergence_raw",
        title="OOD convergence, raw",
        group="collapse",
        direction="lower",
        formula="1 − s_O / s_I",
        reading="How much closer the models' neighbourhoods move together out of distribution.",
        pitfalls="Counts a simpler data set as convergence; the calibrated value does not.",
        source="arXiv:2512.03750",
    ),
    ScoreDefinition(
        id="skill",
        title="Skill",
        group="collapse",
        direction="higher",
        formula="(r2_partial − c) / (1 − c), c = the best control's r2_partial for the energy",
        reading="Composition-free energy information beyond what the best control gives; 1 is all of it.",
        pitfalls="The controls are those of the suite: composition, noise, a descriptor and random networks.",
        null=_SHUFFLED,
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="convergence",
        title="Distance to the panel",
        group="collapse",
        direction="none",
        formula="s_D: mean over unrelated panel members of (Δ(m→p) + Δ(p→m)) / 2",
        reading="Mean information imbalance between the model and the suite's panel; small: they say the same.",
        pitfalls="Models related by fine-tuning do not count.",
        null="1 for independent features.",
        source="arXiv:2512.03750",
    ),
    ScoreDefinition(
        id="convergence_composition",
        title="Composition's distance to the panel",
        group="collapse",
        direction="none",
        formula="c_D: s_D of the composition-only control",
        reading="How far the panel is from knowing composition alone on this data set.",
        null="1 for independent features.",
        source="arXiv:2512.03750",
    ),
)

_REPRESENTATION = (
    ScoreDefinition(
        id="intrinsic_dimension",
        title="Intrinsic dimension (TwoNN)",
        group="representation",
        direction="none",
        formula="slope of −log(1 − F) over log(r₂/r₁), lowest 90 % of the ratios",
        reading="On how many coordinates the structures vary in feature space.",
        pitfalls="Depends on n; near-duplicates lower it.",
        source="Facco et al. 2017",
    ),
    ScoreDefinition(
        id="intrinsic_dimension_mle",
        title="Intrinsic dimension (MLE)",
        group="representation",
        direction="none",
        formula="Levina–Bickel over 50 neighbours",
        reading="Intrinsic dimension at a larger scale; the estimator that arXiv:2512.03750 tabulates.",
        pitfalls="Depends on n and on the number of neighbours.",
        source="MacKay and Ghahramani 2005, arXiv:2512.03750",
    ),
    ScoreDefinition(
        id="intrinsic_dimension_gride",
        title="Intrinsic dimension across scales (GRIDE)",
        group="representation",
        direction="none",
        formula="maximum likelihood from the distances to neighbours k and 2k; k = 1, 2, 4, … ≤ n/4",
        reading="Intrinsic dimension at growing scales: a plateau is the dimension of the structures in feature space.",
        pitfalls="High at small k where features are noisy, low at large k where the neighbourhood is the whole set.",
        source="arXiv:2104.13832",
    ),
    ScoreDefinition(
        id="effective_rank",
        title="Effective rank",
        group="representation",
        direction="none",
        formula="(Σλ)² / Σλ², λ the eigenvalues of the feature covariance",
        reading="Over how many directions the variance of the features is spread.",
        pitfalls="Changes when single columns are rescaled.",
    ),
    ScoreDefinition(
        id="composition_share",
        title="Share explained by composition",
        group="representation",
        direction="none",
        formula="1 − Σ‖H − Ĥ(C)‖² / Σ‖H − H̄‖², 5-fold ridge on element counts or fractions",
        reading="Share of the feature variance that a linear fit on composition predicts.",
        pitfalls="May fall below 0 on held-out structures.",
        null="0 for features without composition.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="energy_mae_corrected",
        title="Energy error, composition-corrected",
        group="representation",
        direction="lower",
        unit="eV/atom",
        formula="mean |(Ê − fit of Ê on elements) − (E − fit of E on elements)|, per atom",
        reading="Error of the model's own energies once differences of reference energies are taken out.",
        pitfalls="The label may come from another functional than the model was trained on.",
    ),
)

_CPD = (
    ScoreDefinition(
        id="cpd",
        title="CPD, linear-probe R²",
        group="cpd",
        direction="higher",
        headline=True,
        overall=True,
        formula="mean of r2_partial over the suite's targets",
        reading="How much of what composition cannot tell about the targets a linear probe reads from the features.",
        pitfalls="Grows with the number of structures; the 64-component variant compares models of unequal width.",
        null=_SHUFFLED,
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="cpd_64",
        title="CPD on 64 components",
        group="cpd",
        direction="higher",
        formula="cpd from the first 64 principal components of each training fold",
        reading="The same at equal width for all models.",
        pitfalls="The components of largest variance need not be the informative ones.",
        null=_SHUFFLED,
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_partial",
        title="R² partial",
        group="cpd",
        direction="higher",
        formula="R² of predicting y − ŷ(C) from H − Ĥ(C), out of fold",
        reading="Share of the target's composition-free part that the composition-free features predict.",
        pitfalls="Negative values mean: worse than the mean. A linear probe extrapolates without bound: one structure "
        "unlike all others (water among larger molecules) can make it very negative.",
        null=_SHUFFLED,
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_geometry",
        title="R² geometry",
        group="cpd",
        direction="higher",
        formula="R² of predicting y from H − Ĥ(C), out of fold, against the mean of the training fold",
        reading="The number of arXiv:2603.03155: share of the whole target that the composition-free features predict.",
        pitfalls="Bounded by 1 − r2_composition: it counts composition's share of the target as noise.",
        null=_SHUFFLED,
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_composition",
        title="R² composition",
        group="cpd",
        direction="none",
        formula="R² of predicting y from C, out of fold",
        reading="Share of the target that composition alone predicts; the same for every model.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_partial_64",
        title="R² partial on 64 components",
        group="cpd",
        direction="higher",
        formula="r2_partial from the first 64 principal components of each training fold",
        reading="The same at equal width for all models.",
        pitfalls="The components of largest variance need not be the informative ones.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_geometry_64",
        title="R² geometry on 64 components",
        group="cpd",
        direction="higher",
        formula="r2_geometry from the first 64 principal components of each training fold",
        reading="The same at equal width for all models.",
        pitfalls="The components of largest variance need not be the informative ones.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="selectivity",
        title="Selectivity",
        group="cpd",
        direction="higher",
        formula="r2_partial − mean of r2_partial on shuffled targets",
        reading="What the probe gains from the target being the real one.",
        pitfalls="Above r2_partial where the shuffled probe is worse than the mean.",
        source="arXiv:1909.03368",
    ),
    ScoreDefinition(
        id="isomer_order",
        title="Isomer order",
        group="cpd",
        direction="higher",
        formula="share of pairs of one formula whose order in y the composition-free probe gets right",
        reading="Composition cannot help here at all; chance is 0.5.",
        pitfalls="Only where a data set has isomers; close pairs count as much as distant ones.",
        null="0.5",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_partial_mlp",
        title="R² partial, network",
        group="cpd",
        direction="none",
        formula="r2_partial with one hidden layer of 64 units in the place of the linear probe",
        reading="What a small network reads of the target's composition-free part; may fall below the linear probe's "
        "where structures are few.",
        pitfalls="Not ranked: a network may learn composition back, see r2_control_mlp.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_geometry_mlp",
        title="R² geometry, network",
        group="cpd",
        direction="none",
        formula="R² of predicting y from H − Ĥ(C) with one hidden layer of 64 units, out of fold",
        reading="Share of the whole target that a small network reads from the composition-free features.",
        pitfalls="Not ranked: what it has learned back of composition counts too, see r2_control_mlp.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="entanglement_mlp",
        title="Entanglement, network",
        group="cpd",
        direction="none",
        formula="r2_partial_mlp − r2_partial",
        reading="What of the target is in the features, but not linearly: 0 or less where a linear probe reads it all.",
        pitfalls="Negative where the network has too few structures to learn from. Read it beside r2_control_mlp.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_control_mlp",
        title="Composition learned back, network",
        group="cpd",
        direction="none",
        formula="R² of predicting the first principal component of C from H − Ĥ(C), the network as in r2_partial_mlp",
        reading="A warning: linear projection has left this much of composition for a network to find.",
        pitfalls="The higher, the less the network's other scores say about geometry.",
        null="0 for features that are free of composition.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_partial_trees",
        title="R² partial, trees",
        group="cpd",
        direction="none",
        formula="r2_partial with gradient-boosted trees in the place of the linear probe",
        reading="What boosted trees read of the target's composition-free part.",
        pitfalls="Not ranked: trees may learn composition back, see r2_control_trees.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_geometry_trees",
        title="R² geometry, trees",
        group="cpd",
        direction="none",
        formula="R² of predicting y from H − Ĥ(C) with gradient-boosted trees, out of fold",
        reading="Share of the whole target that boosted trees read from the composition-free features.",
        pitfalls="Not ranked: what they have learned back of composition counts too, see r2_control_trees.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="entanglement_trees",
        title="Entanglement, trees",
        group="cpd",
        direction="none",
        formula="r2_partial_trees − r2_partial",
        reading="What of the target boosted trees find in the features beyond a linear probe.",
        pitfalls="Negative where the target is linear in many features, which trees approximate poorly.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_control_trees",
        title="Composition learned back, trees",
        group="cpd",
        direction="none",
        formula="R² of predicting the first principal component of C from H − Ĥ(C), trees as in r2_partial_trees",
        reading="A warning: linear projection has left this much of composition for trees to find.",
        pitfalls="The higher, the less the trees' other scores say about geometry.",
        null="0 for features that are free of composition; arXiv:2603.03155 found 0.68 to 0.95.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="learning_area",
        title="Sample efficiency",
        group="cpd",
        direction="higher",
        formula="area under r2_geometry over log n, n = 32, 64, … training structures, divided by the range of log n",
        reading="The mean height of the learning curve: how much the probe reads when labels are few.",
        pitfalls="Bounded by 1 − r2_composition, like r2_geometry. A fifth of the structures is held out, by formula; "
        "the curve itself is in the table learning_curves.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="learning_area_partial",
        title="Sample efficiency, partial",
        group="cpd",
        direction="higher",
        formula="area under r2_partial over log n, as learning_area",
        reading="The same for the part of the target that composition does not explain.",
        pitfalls="Negative where few structures make the probe worse than none.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_vector",
        title="R² of a vector, L=1 channels",
        group="cpd",
        direction="higher",
        formula="1 − Σ|y − ŷ|² / Σ|y|², ŷ = Σ_c w_c v_c over the pooled L=1 channels v_c, ridge, out of fold",
        reading="How much of a vector target, direction and all, one weight a channel reads from the vector channels.",
        pitfalls="Only for models that store L=1 channels. Untrained channels read a dipole well too: compare with the "
        "random networks.",
        null="Vectors dealt to other structures.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_vector_scalars",
        title="R² of a vector, invariant channels",
        group="cpd",
        direction="none",
        formula="1 − Σ|y − ŷ|² / Σ|y|², each component predicted from composition and invariant features on its own",
        reading="A control: invariants do not turn with a structure and cannot know a direction. What is above 0 comes "
        "from the data set orienting its structures alike.",
        pitfalls="Below 0 where the probe fits noise.",
        null="0 for structures in random orientations.",
        source="arXiv:2603.03155",
    ),
    ScoreDefinition(
        id="r2_partial_vectors",
        title="R² partial, norms of the L=1 channels",
        group="cpd",
        direction="higher",
        formula="r2_partial from the norms of the pooled L=1 channels",
        reading="What of a scalar target the vector channels know; beside r2_partial, which has the invariant ones.",
        pitfalls="Only for models that store L=1 channels.",
        null=_SHUFFLED,
        source="arXiv:2603.03155",
    ),
)

_FINE_TUNING = (
    ScoreDefinition(
        id="fine_tuning_bias",
        title="Fine-tuning bias",
        group="fine_tuning",
        direction="lower",
        headline=True,
        formula="1 − gfre(parent → model) / mean over strangers u of gfre(u → model), per atom",
        reading="1: the model is a linear image of the model it was fine-tuned from; 0: no closer to it than a "
        "stranger.",
        pitfalls="Only for models that declare what they were fine-tuned from. The strangers are the suite's panel "
        "models of the same family, else of the whole panel, that are not related to the model.",
        null="Each stranger on each subsample in the parent's place.",
        source="gfre: Goscinski et al. 2021",
    ),
    ScoreDefinition(
        id="fine_tuning_bias_local",
        title="Fine-tuning bias, local",
        group="fine_tuning",
        direction="lower",
        formula="1 − lfre(parent → model) / mean over strangers u of lfre(u → model), per atom",
        reading="The same with a linear map of its own for every neighbourhood.",
        pitfalls="On a fixed sample of atoms.",
        null="0: no closer than a stranger.",
        source="lfre: Goscinski et al. 2021",
    ),
    ScoreDefinition(
        id="gfre_from_parent",
        title="Reconstruction error, parent → model",
        group="fine_tuning",
        direction="none",
        formula="gfre(parent → model), per atom",
        reading="How much of the model's features no linear map of its parent's features gives.",
        null="1: no better than the mean.",
        source="Goscinski et al. 2021",
    ),
    ScoreDefinition(
        id="gfre_from_strangers",
        title="Reconstruction error, strangers → model",
        group="fine_tuning",
        direction="none",
        formula="mean over strangers u of gfre(u → model), per atom",
        reading="The same from models that are not related to it.",
        null="1: no better than the mean.",
        source="Goscinski et al. 2021",
    ),
    ScoreDefinition(
        id="cknna_parent",
        title="CKNNA with the parent",
        group="fine_tuning",
        direction="none",
        formula="cknna(parent, model)",
        reading="Share of neighbourhoods that fine-tuning has kept.",
        null="Rows permuted.",
        source="arXiv:2405.07987",
    ),
)

RESIDUAL_SUFFIX = "_residual"
RESIDUAL_VARIANTS = (
    "cknna",
    "mutual_knn",
    "cka",
    "dcor",
    "information_imbalance_to_reference",
    "information_imbalance_from_reference",
)
"""Scores that are also computed on residual features; `alignment_residual` has a record of its own."""


def _residual(score: ScoreDefinition) -> ScoreDefinition:
    return ScoreDefinition(
        id=score.id + RESIDUAL_SUFFIX,
        title=f"{score.title}, without composition",
        group=score.group,
        direction=score.direction,
        formula=f"{score.formula}; a linear fit on composition is taken out of both models first",
        reading=score.reading,
        pitfalls=score.pitfalls,
        null=score.null,
        source=score.source,
    )


_DEFINED = (*_ALIGNMENT, *_COLLAPSE, *_REPRESENTATION, *_CPD, *_FINE_TUNING)
SCORES: dict[str, ScoreDefinition] = {
    score.id: score for score in (*_DEFINED, *(_residual(s) for s in _ALIGNMENT if s.id in RESIDUAL_VARIANTS))
}
"""Every score by id, in the order of the protocol."""

HEADLINE = tuple(score.id for score in SCORES.values() if score.headline)
"""Scores with a ranked table of their own."""

OVERALL = tuple(score.id for score in SCORES.values() if score.overall)
"""Scores that count in the Borda sum."""


def direction(score: str) -> Direction:
    """Which values of `score` are better. KeyError names an unknown id."""
    return SCORES[score].direction


def better(score: str, value: float, other: float) -> bool:
    """Whether `value` is strictly better than `other`; False where the score has no direction."""
    wanted = direction(score)
    return value > other if wanted == "higher" else wanted == "lower" and value < other
