"""Faults to inject with `--trt-fault=pytest_trt.emulator.faults:NAME`, and honest variants that every check must pass.

Each is a callable `fault(site)` (see `pytest_trt.emulator.sites`). Nothing here calls the reference or the checks.
"""

from pytest_trt.emulator.faults.honest import split_k_summation, summation_order_reversed
from pytest_trt.emulator.faults.products import (
    bias_omitted_on_channel_tail,
    int8_scale_of_neighbour_channel,
    last_input_channel_dropped,
    pads_swapped,
)
from pytest_trt.emulator.faults.values import (
    clip_upper_dropped,
    last_batch_row_stale,
    output_truncated_not_rounded,
)

FAULTS = (
    bias_omitted_on_channel_tail,
    clip_upper_dropped,
    int8_scale_of_neighbour_channel,
    last_batch_row_stale,
    last_input_channel_dropped,
    output_truncated_not_rounded,
    pads_swapped,
)
HONEST = (split_k_summation, summation_order_reversed)

__all__ = [
    "FAULTS",
    "HONEST",
    "bias_omitted_on_channel_tail",
    "clip_upper_dropped",
    "int8_scale_of_neighbour_channel",
    "last_batch_row_stale",
    "last_input_channel_dropped",
    "output_truncated_not_rounded",
    "pads_swapped",
    "split_k_summation",
    "summation_order_reversed",
]
