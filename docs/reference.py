"""The configuration reference, docs/config.md, from the models: `make docs`."""

import inspect
import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from lambda_hat_core.config.data import Teacher
from lambda_hat_core.config.errors import one_line
from lambda_hat_core.config.experiment import ExperimentFile, SamplerEntry, TargetEntry
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Sampler
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.study import DISTRIBUTIONS, PARTS, TuneFile
from lambda_hat_core.config.training import Training
from lambda_hat_core.plan.targets import DATA, MODELS

_INTRODUCTION = """\
# Configuration reference

Written by `make docs` from the models that validate every file;
a test keeps the two the same.

An experiment is a file under `config/experiment/`, or anywhere: `LAMBDA_HAT_EXPERIMENT` holds its
name or its path. It runs every sampler on every target.

```yaml
experiment: mine
targets:
  - {model: small, data: medium, overrides: {training: {steps: 2000}, data.noise_scale: 0.05}}
  - {model: {kind: deep_linear, widths: [6, 8, 6], rank: 3}, data: {n_data: 4000}}
  - {model: {depth: 1, hidden: 8}, data: digits}
samplers:
  - {name: nuts, seed: 1}
  - {name: sgld, overrides: {precond: rmsprop}, posterior: {gamma: 10}, dtype: float64}
posterior: {gamma: [1, 10, 100]}
```

* A name under `model`, `data`, `teacher`, `training` or `samplers` is a preset: the file of that
  name under `config/model/` and so on. A preset holds keys of the tables below and nothing else.
* `overrides` change what the preset says. What is so without them may be written all the same, in
  them or elsewhere: it is the same run with the same id. A key that is not in these tables is an
  error.
* A list under `posterior.gamma` or `posterior.nbeta` makes one run a value.
* An override of `widths`, `target_params` or `hidden` takes the place of whichever of them the
  preset had. Contradicting keys in one place are an error.
* Losses: where none is written, class labels take `cross_entropy`, other data `mse`, and potentials
  and custom targets their own. The network is trained with the experiment's loss (`gaussian` and
  `mse` have the same minimum), and a sampler may ask for another loss only if that minimum is its
  minimum too.
* A batch size that nobody wrote becomes the full batch where it is not below n, and one that
  somebody wrote must not exceed n. The n of a custom target is known only to its factory, so there
  the default counts as not written, even where it stands in the file. `work.json` of a run has the
  batch size that was used, null for the full batch.
* YAML is read with safe tags only; `${...}` is not read. Numbers such as `1e-4` are floats.

Ids are hashes of the specs with every default filled in: `tgt_` of model, data, teacher, training
and seed; `run_<sampler>_` of the target's id, sampler, posterior, seed and dtype. What cannot
change a number is not in them.
"""


def reference() -> str:
    """Return the whole reference as Markdown."""
    parts = [
        _INTRODUCTION,
        _section("The file", ExperimentFile),
        _section("Entries of `targets`", TargetEntry),
        _section("Entries of `samplers`", SamplerEntry),
        _section("`posterior`", PosteriorSpec),
        _family("model", "Models", MODELS),
        _family("data", "Data", DATA),
        _section("`teacher`", Teacher),
        _section("`training`", Training),
        _family("name", "Samplers", SAMPLERS),
        _section("Tuning files", TuneFile, note=" Under `config/tune/`; see docs/tuning.md."),
        *(_section(f"`{key}` of a tuning file", model, level=3) for key, model in PARTS.items()),
        *(
            _section(f"`dist: {name}` of a searched parameter", model, level=3)
            for name, model in DISTRIBUTIONS.items()
        ),
    ]
    return "\n".join(parts)


def _family(key: str, title: str, models: Mapping[str, type[BaseModel]]) -> str:
    sections = []
    for name, model in models.items():
        heading = f"`name: {name}`" if key == "name" else f"`{key}: {{kind: {name}}}`"
        dtype = f" Default dtype: {model.default_dtype}." if issubclass(model, Sampler) else ""
        sections.append(_section(heading, model, level=3, note=dtype))
    return "\n".join([f"## {title}\n", *sections])


def _section(title: str, model: type[BaseModel], *, level: int = 2, note: str = "") -> str:
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    rows = [
        f"| `{name}` | {_cell(_type(properties[name]))} | {_cell(_default(model, name))} "
        f"| {_cell(field.description or '')} |"
        for name, field in model.model_fields.items()
        if name not in ("kind", "dist")
    ]
    table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows]
    words = one_line(inspect.getdoc(model) or "")
    return "\n".join([f"{'#' * level} {title}\n", words + note + "\n", *table]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return "see there" if isinstance(default, BaseModel) else f"`{json.dumps(default)}`"


_WORDS = {"object": "mapping", "string": "text", "boolean": "`true`, `false`"}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        return "mapping"
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    written = [f"{sign} {schema[key]}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([_WORDS.get(kind, str(kind)), " and ".join(written)]).strip()


if __name__ == "__main__":
    sys.stdout.write(reference())
