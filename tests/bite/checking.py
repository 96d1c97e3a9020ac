"""What a whole check of a drawn configuration finds."""

from __future__ import annotations

from pytest_trt.errors import ConformanceError


def checked(bench, case, precision):
    """Return the names of the checks that a configuration trips on a workbench; empty when it conforms."""
    try:
        bench.check(
            case.model(),
            precision=precision,
            profile=case.profile,
            shapes=case.input_shapes,
            label=case.text,
            drawn=True,
        )
    except ConformanceError as error:
        return {found.check for found in error.verdict.findings}
    return set()
