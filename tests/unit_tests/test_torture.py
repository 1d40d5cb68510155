"""A few trials of every attack; ``make torture`` runs them for minutes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the attacks use Linux's /proc, fork and limits", allow_module_level=True)

from tests.torture.attack import Attack, attacks, carry_out

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.mark.parametrize("attack", attacks(), ids=lambda attack: attack.name)
def test_no_attack_does_harm(attack: Attack, tmp_path: Path) -> None:
    result = carry_out(attack, tmp_path, seed=0, count=attack.short)
    assert result.count == attack.short
    assert not result.faults
