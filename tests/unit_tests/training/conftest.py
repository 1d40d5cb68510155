"""What makes training tiny models quick."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def swift() -> Iterator[None]:
    """Tiny models are slower on several threads; the trainer collects garbage, which is slow with so many modules."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sentence_transformers.base.model.BaseModel._create_model_card", lambda *_, **__: None)
        yield
    gc.unfreeze()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def no_plots() -> Iterator[None]:
    """Plots are tested in `test_recipes`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.recipes.fitting.draw_history", lambda *_: None)
        yield
