"""Families of faults made from public reports of wrong results, and the checks that have to catch them.

Each fault of `pytest_trt.emulator.faults` names the families that it belongs to; `faults_of` finds them. M33 holds the other
correct kernels, which every check has to let pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pytest_trt.bench import trust
from pytest_trt.check import concurrent, rebuild, relations, sequences

# Names of findings, as verdicts have them: values outside of what the contract admits.
NUMBERS = ("certificate", "interval", "statistics", "slices", "nan", "end-to-end")
ROWS = (relations.IDENTICAL_ROWS, relations.BATCH_ONE, relations.PERMUTATION)
CONTEXTS = (concurrent.TURNS, concurrent.THREADS, concurrent.CHURN, *sequences.SEQUENCES)
# A run that TensorRT itself says has failed is an error, and never a result.
FAILED_RUN = ("ExecutionError",)
CLOCKS = (
    trust.LAYER_TIMES,
    trust.WITHIN_HOST,
    trust.SHARE_OF_HOST,
    trust.NOT_CACHED,
    trust.FAILED_UNTIMED,
    trust.EVERY_STREAM,
    trust.LAYERS_SUM,
)


@dataclass(frozen=True)
class Mutant:
    """One family of faults.

    Attributes
    ----------
    name : str
        `M01` to `M33`.
    sentence : str
        What a kernel, an engine or a runtime of it does.
    bugs : tuple of str
        Public threads that it imitates, `owner/repository#number`; empty where none stands behind it.
    checks : tuple of str
        Names of findings, of relations, or of the error; each fault has to be caught by one of them at least. Empty for M33.
    """

    name: str
    sentence: str
    bugs: tuple[str, ...] = ()
    checks: tuple[str, ...] = NUMBERS


def _trt(*numbers: int) -> tuple[str, ...]:
    return tuple(f"NVIDIA/TensorRT#{number}" for number in numbers)


_TABLE = (
    Mutant("M01", "Clip loses its upper bound and acts as a ReLU.", _trt(4606)),
    Mutant(
        "M02",
        "A strided view is read as though it were dense.",
        _trt(4854),
        (*NUMBERS, relations.EXTRA_OUTPUT),
    ),
    Mutant(
        "M03",
        "Rows of a batch behind the first are computed from other rows.",
        _trt(3103, 1912, 2382, 3689, 842, 1550, 3744, 2063),
        (*NUMBERS, *ROWS),
    ),
    Mutant("M04", "Identical rows differ by their place in the batch.", _trt(4813), (*NUMBERS, *ROWS)),
    Mutant("M05", "Rows are wrong from a batch size on.", _trt(1697, 3855, 4821, 2094), (*NUMBERS, *ROWS)),
    Mutant(
        "M06",
        "What lies between the batch and the profile's maximum leaks into the rows.",
        _trt(4813, 2457, 4035, 3821),
        (*NUMBERS, *ROWS, relations.WIDER_PROFILE),
    ),
    Mutant(
        "M07",
        "A fused kernel is wrong, and right again when an inner tensor is marked as an output.",
        _trt(4400, 3645, 3390, 2091, 305),
        (*NUMBERS, relations.EXTRA_OUTPUT),
    ),
    Mutant("M08", "A single value is wrong.", _trt(4854, 3999), (*NUMBERS, *ROWS, relations.REPEAT)),
    Mutant("M09", "Groups, channels or layouts are exchanged."),
    Mutant("M10", "Strides, dilations or pads are off by one, exchanged or ignored."),
    Mutant("M11", "An average divides by another number of elements.", _trt(779)),
    Mutant(
        "M12",
        "A convolution whose kernel is as large as its stride loses its last taps.",
        (*_trt(4678), "facebookresearch/sam3#388"),
    ),
    Mutant("M13", "FP32 products are computed in TF32 although it was switched off.", _trt(2494, 1824)),
    Mutant("M14", "Sums are kept in fewer bits than was promised."),
    Mutant(
        "M15",
        "Values past 65504 are clipped, or finite ones become infinite.",
        _trt(2466, 2564, 1954, 4493, 3101, 3897, 4022, 3726),
    ),
    Mutant("M16", "Subnormal numbers become zero where they are promised."),
    Mutant(
        "M17",
        "INT8 scales are those of another channel, of the whole tensor, or stale.",
        _trt(1961, 1694, 1699),
    ),
    Mutant(
        "M18",
        "INT8 requantisation rounds, clips, shifts or adds its bias in another way.",
        (*_trt(1840), "uxlfoundation/oneDNN#1870", "uxlfoundation/oneDNN#1749"),
    ),
    Mutant(
        "M19",
        "A quantised skip connection is added in the wrong scale.",
        (*_trt(4079), "NVIDIA/Model-Optimizer#48"),
    ),
    Mutant("M20", "NaN is swallowed.", _trt(4773, 4758)),
    Mutant(
        "M21",
        "A run reports success and leaves its outputs, or a part of them, as they were.",
        ("pytorch/TensorRT#2991", "pytorch/TensorRT#4481", "ultralytics/ultralytics#26223"),
        (
            *NUMBERS,
            *ROWS,
            concurrent.WRITTEN,
            concurrent.SYNCHRONOUS,
            relations.REPEAT,
            sequences.FOLLOWS,
            *FAILED_RUN,
        ),
    ),
    Mutant("M22", "An enqueue fails.", ("pytorch/TensorRT#4481",), FAILED_RUN),
    Mutant(
        "M23",
        "A run returns rows of another context.",
        (
            *_trt(2648, 1311, 1121, 2040, 2353, 1367),
            "microsoft/onnxruntime#19275",
            "microsoft/onnxruntime#32673",
        ),
        (*NUMBERS, *ROWS, relations.REPEAT, *CONTEXTS),
    ),
    Mutant("M24", "A context is wrong after another one has run.", _trt(2648), CONTEXTS),
    Mutant(
        "M25",
        "An output is read before the run has ended.",
        ("microsoft/onnxruntime#19275", "microsoft/onnxruntime#32673"),
        (*NUMBERS, *ROWS, *CONTEXTS),
    ),
    Mutant(
        "M26",
        "A refit scrambles, ignores or loses weights.",
        (*_trt(1468, 1501, 639, 2902, 3099), "pytorch/TensorRT#3437"),
        (rebuild.REFIT_SAME, rebuild.REFIT_OTHER),
    ),
    Mutant("M27", "Another version shifts the outputs or doubles their error.", _trt(4820, 4419, 4334)),
    Mutant(
        "M28",
        "Layers run in another precision than was asked for.",
        (*_trt(3941), "roboflow/rf-detr#1453"),
        (*NUMBERS, "precision"),
    ),
    Mutant(
        "M29",
        "An engine that is built again computes otherwise.",
        _trt(4798, 4730, 3316, 568),
        (
            *NUMBERS,
            *ROWS,
            rebuild.REBUILT,
            rebuild.REBUILT_FROM_CACHE,
            rebuild.REFIT_OTHER,
            relations.EXTRA_OUTPUT,
            relations.WIDER_PROFILE,
        ),
    ),
    Mutant("M30", "One GPU class computes otherwise.", _trt(4822, 3999, 2036), (*NUMBERS, "every-gpu-class")),
    Mutant("M31", "Times are too short, too long, old, or of what never ran.", (), CLOCKS),
    Mutant("M32", "The same work takes longer, or now longer and now shorter.", (), ("equal-speed",)),
    Mutant("M33", "Another correct kernel: every check lets it pass.", (), ()),
)

MUTANTS: Mapping[str, Mutant] = MappingProxyType({mutant.name: mutant for mutant in _TABLE})


def faults_of(name: str) -> tuple[str, ...]:
    """Return the names of the faults of a family, of M33 those of the honest variants, sorted.

    Raises
    ------
    KeyError
        There is no such family.
    """
    from pytest_trt.emulator.faults import FAULTS, HONEST

    mutant = MUTANTS[name]
    return tuple(sorted(n for n, entry in {**FAULTS, **HONEST}.items() if mutant.name in entry.mutants))
