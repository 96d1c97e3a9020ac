"""Public wrong-result bugs of TensorRT: which of them this installation has.

Each test provokes one report (`python -m pytest_trt claims B01` names it) with its graph, its sequence of calls or its setting.
A failure says that the bug is present, a pass that it is fixed here, or was never in this version; where the reported network is
not public and a stand-in runs, a pass says no more than that it was not seen.
"""

from __future__ import annotations

import pytest

from pytest_trt.cases.triggers import TRIGGERS, Inapplicable, Trial
from pytest_trt.errors import InputError, ModelError, SettingsError, TrtError, UnsupportedError, UsageError
from pytest_trt.fixtures import record_verdict, replay_of
from pytest_trt.report.ledger import FIDELITY
from pytest_trt.session import session_of

CASES = [
    pytest.param(precision, each, marks=pytest.mark.bug(each.bug), id=f"{each.bug}-{each.name}-{precision}")
    for each in sorted(TRIGGERS.values(), key=lambda each: (each.bug, each.name))
    for precision in each.precisions
]


@pytest.mark.parametrize(("trt_precision", "provoked"), CASES, indirect=["trt_precision"])
def test_bug(trt_build, trt_precision, provoked, request):
    """The trigger of a public bug ends as a correct TensorRT ends it."""
    session = session_of(request.config)
    request.node.user_properties.append((FIDELITY, provoked.fidelity))
    if provoked.seldom and session.settings.budget == "quick":
        pytest.skip("not applicable: takes long or much memory; to get it: --trt-budget=standard")
    trial = Trial(
        session.workbench,
        trt_precision,
        lambda verdict: record_verdict(session, trt_precision, verdict),
        replay_of(request.node, ""),
    )
    try:
        provoked.provoke(trial)
    except Inapplicable as reason:
        pytest.skip(f"not applicable: {reason}")
    except UnsupportedError as error:
        if trial.rt.emulated:
            raise
        pytest.skip(f"not applicable: {error.what}")
    except (InputError, ModelError, SettingsError, UsageError):
        raise  # of the trigger itself
    except TrtError as error:
        error.what = f"bug {provoked.bug} is present: {error.what}"
        raise
