"""What stands beside a trained model: its card, the plot of its training, and its copy on the hub."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.settings import SettingsError, to_dict

if TYPE_CHECKING:
    from training.inputs import Data
    from training.recipes.runs import FitSettings, Outcome

logger = logging.getLogger(__name__)

_PACKAGES = ("langchain-klue-rerank", "sentence-transformers", "transformers", "torch")
#: Where the hub has KLUE.
_HUB_DATA = "klue/klue"
#: Stands in a card for the name of a model that is not at the hub.
_NO_NAME = "path/to/model"
_LICENCE_IDS = {"CC BY-SA 4.0": "cc-by-sa-4.0", "Apache-2.0": "apache-2.0", "MIT": "mit"}

_USE_BI_ENCODER = """\
from langchain_klue_rerank import KlueEmbeddings, KlueRetriever

retriever = KlueRetriever.from_documents(documents, embeddings=KlueEmbeddings(model="{name}"))
```

or plainly:

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("{name}").encode(["이사 신고는 언제까지 하나요?", "전입신고는 14일 안에 합니다."])
"""
_USE_CROSS_ENCODER = """\
from langchain_klue_rerank import KlueReranker

KlueReranker(model="{name}").rerank(["전입신고는 14일 안에 합니다."], "이사 신고는 언제까지 하나요?")
```

or plainly:

```python
from sentence_transformers import CrossEncoder

CrossEncoder("{name}").predict([("이사 신고는 언제까지 하나요?", "전입신고는 14일 안에 합니다.")])
"""
_USE_LATE_INTERACTION = """\
from langchain_klue_rerank import KlueReranker, KlueRetriever

retriever = KlueRetriever.from_documents(documents, reranker=KlueReranker(model="{name}"))
```

or plainly:

```python
from sentence_transformers import MultiVectorEncoder

model = MultiVectorEncoder("{name}")
passages = model.encode_document(["전입신고는 14일 안에 합니다."])
model.similarity(model.encode_query(["이사 신고는 언제까지 하나요?"]), passages)
"""
_USES = {
    "sentence-similarity": _USE_BI_ENCODER,
    "text-ranking": _USE_CROSS_ENCODER,
    "feature-extraction": _USE_LATE_INTERACTION,
}


@dataclass(frozen=True)
class About:
    """What a recipe says about its model in the card.

    Attributes:
        title: What the model is, in one line.
        task: As the hub names it: ``sentence-similarity`` for a bi-encoder, ``text-ranking`` for a cross-encoder,
            ``feature-extraction`` for a late-interaction model.
        recipe: Module that made it.
        test: What the scores were measured on.
        data: What it was trained and tested on.
        loss: What was minimised.
        notes: More that should be known.
        held_out: Rows of `data` that picked the checkpoint instead of training.
    """

    title: str
    task: str
    recipe: str
    test: str
    data: Data
    loss: str
    notes: list[str] = field(default_factory=list)
    held_out: int = 0


def write_card(folder: Path, about: About, settings: FitSettings, outcome: Outcome) -> None:
    """Write the model's README: use, scores, data and licence, settings, versions."""
    data = about.data
    name = settings.push_to_hub or _NO_NAME
    use = _USES[about.task]
    notes = [*data.notes, *about.notes]
    if about.held_out:
        notes.append(f"{about.held_out} of the rows to learn from picked the checkpoint instead.")
    if not outcome.complete:
        notes.append(f"The time budget ended training early, after {outcome.steps} steps.")
    scores = [(key, f"{outcome.before[key]:.4f}", f"{value:.4f}") for key, value in outcome.after.items()]
    parts = [
        "---",
        "language: ko",
        f"license: {_LICENCE_IDS.get(data.licence, 'other')}",
        *([] if Path(settings.base_model).exists() else [f"base_model: {settings.base_model}"]),
        *([f"datasets: {_HUB_DATA}"] if data.name.startswith("klue/") else []),
        "library_name: sentence-transformers",
        f"pipeline_tag: {about.task}",
        "tags: [sentence-transformers, langchain-klue-rerank]",
        "---",
        f"# {about.title}",
        f"Made from `{settings.base_model}` with `python -m {about.recipe}`.",
        f"```python\n{use.format(name=name)}```",
        "## Scores",
        f"Correlation with the labels of {about.test}.",
        _table(
            ["", "before", "after"],
            scores,
        ),
        "## Data",
        f"{data.name}: {len(data.train)} rows to learn from, {len(data.test)} to be tested on. "
        f"Licence: {data.licence}. A model made from data under a share-alike licence comes under the same licence.",
        *[f"- {note}" for note in notes],
        "## Training",
        f"{about.loss}; {outcome.steps} steps of {outcome.effective_batch} rows (the effective batch, over all "
        f"devices) in {outcome.precision} on {outcome.device}; {outcome.seconds / 60:.1f} minutes in all.",
        _table(["setting", "value"], list(to_dict(settings).items())),
        "## Versions",
        _table(["package", "version"], versions("datasets", "accelerate")),
    ]
    end = parts.index("---", 1) + 1
    lead, body = "\n".join(parts[:end]), "\n\n".join(parts[end:])
    (folder / "README.md").write_text(f"{lead}\n\n{body}\n", encoding="utf-8")


def draw_history(history: list[dict[str, Any]], metric: str, path: Path) -> None:
    """Draw training loss and held-out metric over the steps.

    Args:
        history: The trainer's log.
        metric: Its key for the metric.
        path: The picture to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    losses = [(row["step"], row["loss"]) for row in history if "loss" in row]
    metrics = [(row["step"], row[metric]) for row in history if metric in row]
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    lines = axes.plot(*zip(*losses, strict=True), color="tab:blue", label="loss") if losses else []
    if metrics:
        other = axes.twinx()
        label = metric.removeprefix("eval_").replace("_", " ") + ", held-out rows"
        other.set_ylabel(label)
        lines += other.plot(*zip(*metrics, strict=True), color="tab:orange", marker="o", label=label)
    axes.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def check_upload(repository: str) -> None:
    """Make sure, before hours of training, that whoever is logged in may write to a repository.

    Args:
        repository: owner/name.

    Raises:
        SettingsError: If the hub does not know who uploads or cannot be reached, the token may only read, or the owner
            is neither the user nor an organisation of the user's.
    """
    from huggingface_hub import HfApi

    try:
        user = HfApi().whoami()
    except Exception as error:  # whatever the network raises
        raise SettingsError(
            f"--push-to-hub {repository}: the hub does not know you ({type(error).__name__}); log in with "
            "'hf auth login', or leave it out"
        ) from error
    role = ((user.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise SettingsError(f"--push-to-hub {repository}: your token may only read; log in with one that may write")
    owner = repository.partition("/")[0]
    owners = [user["name"], *(org["name"] for org in user.get("orgs") or [] if org.get("roleInOrg") != "read")]
    if owner not in owners:
        raise SettingsError(f"--push-to-hub {repository}: you may write to {', '.join(owners)}, not to {owner}")


def push(folder: Path, repository: str, private: bool = False) -> None:
    """Upload a model's folder; the repository is made if need be, and the card then names it.

    Args:
        folder: The model.
        repository: owner/name.
        private: Whether a repository that is made is private.

    Raises:
        SettingsError: If the hub refuses or cannot be reached; the folder is as it was, but for the name in its card.
    """
    from huggingface_hub import HfApi

    card = folder / "README.md"
    if card.exists():
        card.write_text(card.read_text(encoding="utf-8").replace(_NO_NAME, repository), encoding="utf-8")
    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True, private=private)
        api.upload_folder(folder_path=str(folder), repo_id=repository, repo_type="model")
    except Exception as error:  # whatever the network raises
        raise SettingsError(
            f"--push-to-hub {repository}: the upload failed ({type(error).__name__}: {error}). The model is in "
            f"{folder}; give the same command with --resume to upload it again"
        ) from error
    logger.info("Uploaded %s to %s", folder, repository)


def versions(*others: str) -> list[tuple[str, str]]:
    """Return the versions of Python, of the packages that every model is made with, and of others, by name."""
    found = [("python", platform.python_version())]
    for package in (*_PACKAGES, *others):
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            found.append((package, "from a clone"))
    return found


def _table(head: list[str], rows: list[Any]) -> str:
    lines = [head, ["---"] * len(head), *[[str(value) for value in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
