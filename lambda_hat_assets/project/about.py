"""What a Dagster run is about, as tags in words, by which people find it in the list of runs."""

from collections.abc import Iterable, Sequence

from lambda_hat_assets.project.partitions import family_name
from lambda_hat_assets.project.project import Project

EXPERIMENT_TAG = "lambda_hat/experiment"
SAMPLER_TAG = "lambda_hat/sampler"
TARGET_TAG = "lambda_hat/target"
LABEL_TAG = "lambda_hat/label"


def about(project: Project, keys: Sequence[str]) -> dict[str, str]:
    """Return the tags of a run that makes some partitions.

    Args:
        project: the project, with specs and labels by id.
        keys: ids of trainings, targets or runs, or names of experiments.
    """
    runs = [project.runs[key] for key in keys if key in project.runs]
    of_runs = [spec.target for spec in runs]
    targets = [key for key in [*of_runs, *keys] if key in project.targets]
    experiments = [
        name
        for name, plan in project.plans.items()
        if any(key in found for key in keys for found in (plan.runs, plan.targets, [name]))
    ]
    found = {
        EXPERIMENT_TAG: _listed(experiments),
        SAMPLER_TAG: _listed(family_name(spec) for spec in runs),
        TARGET_TAG: _listed(project.labels[target] for target in targets),
        LABEL_TAG: some_of(project.labels.get(key, key) for key in keys),
    }
    return {name: words for name, words in found.items() if words}


def some_of(labels: Iterable[str]) -> str:
    """Return the first of some labels, and how many more there are."""
    first, *others = labels
    return f"{first}, and {len(others)} more" if others else first


def _listed(words: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(words))
