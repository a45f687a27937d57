"""Ablation of the ranking: what each feature adds, and how the weights do on unseen repositories. No database."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.search.sets import TOP, Figures, Question, ndcg
from codebase_index.store.query.candidate import Candidate
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.ranking import Features, extract_features, order
from codebase_mcp.ranking.weights import DEFAULT, Weights

FUSION_ALONE = Weights(
    lexical_share_for_name=0.5, type_definition=0, name_definition=0, reexports=0, plain_word=0,
    partial_definition=0, spelled_type=0, spelled_name=0, spelled_file=0, coverage=0, file_name=0, folder=0,
    non_source=1, platform=1, declarations=1, file_boost=0, part_share=0, repeat_decay=1,
)  # fmt: skip
"""Every feature without effect."""

FEATURES: Mapping[str, tuple[str, ...]] = {
    "a name asks the lexical arm": ("lexical_share_for_name",),
    "names defined": ("type_definition", "name_definition", "plain_word", "partial_definition"),
    "names passed on": ("reexports",),
    "names spelled in words": ("spelled_type", "spelled_name", "spelled_file"),
    "terms covered": ("coverage",),
    "file and folder names": ("file_name", "folder"),
    "tests, examples, prose lower": ("non_source",),
    "rare platforms lower": ("platform",),
    "declarations alone lower": ("declarations",),
    "a file's best chunks lift it": ("file_boost",),
    "a file's parts lift it": ("part_share",),
    "repeats of a file lower": ("repeat_decay",),
}
"""The features as docs/search.md calls them, in the order of the ablation, and their weights."""

TUNED: Mapping[str, tuple[float, ...]] = {
    "lexical_share": (0.4, 0.6),
    "reexports": (0.3, 0.7),
    "partial_definition": (0.3, 0.7),
    "spelled_type": (0.3, 0.7),
    "coverage": (0.2, 0.4),
    "file_name": (0.3, 0.5),
    "non_source": (0.3, 0.5),
    "platform": (0.5, 0.8),
    "file_boost": (0.4, 0.6),
    "part_share": (0.3, 0.7),
    "repeat_decay": (0.4, 0.6),
}
"""The neighbours of the shipped constants, among which leaving a repository out chooses."""


@dataclass(frozen=True)
class Case:
    """A query with its candidates, as the store found them."""

    repository: str
    question: Question
    features: Features

    @classmethod
    def of(cls, repository: str, question: Question, candidates: Sequence[Candidate]) -> "Case":
        """Read the candidates once for all weights."""
        return cls(repository, question, extract_features(Query.of(question.text), candidates))


def figures(cases: Sequence[Case], weights: Weights = DEFAULT) -> Figures:
    """Rank every case and judge it."""
    return Figures.of((c.repository, c.question.category, _score(c, weights)) for c in cases)


def _score(case: Case, weights: Weights) -> float:
    found = [r.candidate for r in order(case.features, weights)[:TOP]]
    return ndcg([(c.path, c.start_line, c.end_line) for c in found], case.question.targets)


def ablate(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return a row for each step: each arm alone, both, and each feature on top of those before.

    `without` is the total of the whole ranking without this feature.
    """
    rows = [
        _row("BM25 alone", figures(cases, replace(FUSION_ALONE, lexical_share=1, lexical_share_for_name=1))),
        _row("vectors alone", figures(cases, replace(FUSION_ALONE, lexical_share=0, lexical_share_for_name=0))),
        _row("both, fused", figures(cases, FUSION_ALONE)),
    ]
    active = FUSION_ALONE
    for name, fields in FEATURES.items():
        active = replace(active, **{field: getattr(DEFAULT, field) for field in fields})
        without = replace(DEFAULT, **{field: getattr(FUSION_ALONE, field) for field in fields})
        rows.append(
            _row(f"+ {name}", figures(cases, active)) | {"without": round(figures(cases, without).total, 4)}
        )
    return rows


def _row(step: str, scores: Figures) -> dict[str, Any]:
    categories = {name: round(value, 3) for name, value in scores.by_category.items()}
    return {"step": step, "ndcg_at_10": round(scores.total, 4), "by_category": categories}


def leave_one_out(cases: Sequence[Case]) -> float:
    """Return the mean score of each repository with the weights that the others would choose."""
    settings = [DEFAULT, *(_with(f, value) for f, values in TUNED.items() for value in values)]
    scores = [figures(cases, weights).by_repository for weights in settings]
    values = []
    for left_out in scores[0]:
        chosen = max(scores, key=lambda of: statistics.mean(v for name, v in of.items() if name != left_out))
        values.append(chosen[left_out])
    return statistics.mean(values)


def _with(weight: str, value: float) -> Weights:
    changed: dict[str, Any] = {weight: value}
    return replace(DEFAULT, **changed)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the ablation as a table for the documentation."""
    categories = list(rows[0]["by_category"])
    head = ["step", "nDCG@10", *categories, "all but this"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["step"], f"{row['ndcg_at_10']:.3f}", *(f"{row['by_category'][c]:.3f}" for c in categories)]
        lines.append("| " + " | ".join([*cells, f"{row['without']:.3f}" if "without" in row else ""]) + " |")
    return "\n".join(lines)
