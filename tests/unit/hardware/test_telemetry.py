"""The readers of nvidia-smi and tegrastats: words of refusals, odd forms, and any text at all."""

from __future__ import annotations

import pickle
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_trt.errors import InputError
from pytest_trt.hardware.smi import EVENT_FIELDS, FIELDS, SmiSample, read_smi, write_smi
from pytest_trt.hardware.tegrastats import gpu_sample, read_tegrastats
from pytest_trt.hardware.throttle import REASONS, name_reasons, spoils

LINE = "2024/05/31 12:00:00.123, 97 %, 1590 MHz, 5000 MHz, 69.51 W, 71, 0x0000000000000048"
PIECES = st.sampled_from(
    [
        "2024/05/31 12:00:00.123",
        ",",
        ", ",
        "97 %",
        "0x8",
        "[N/A]",
        "\n",
        "\r",
        '"',
        "\0",
        "timestamp",
        "clocks.sm [MHz]",
        "RAM 1/2MB",
        " CPU [",
        "]",
        "GR3D_FREQ ",
        "5%",
        "@[305,305]",
        "@[314, 314]",
        "GR3D2_FREQ ",
        "@76",
        " gpu@45.5C",
        " VDD_IN 1mW/2mW",
        "off",
    ]
)
ANYTHING = st.one_of(st.text(), st.lists(PIECES).map("".join), st.text(alphabet="0123456789,%@[]C/ \nx.-"))

samples = st.builds(
    SmiSample,
    st.datetimes(datetime(1970, 1, 1), datetime(2262, 1, 1)).map(
        lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)
    ),
    *[st.one_of(st.none(), st.integers(0, 20_000).map(float)) for _ in range(3)],
    st.one_of(st.none(), st.integers(0, 200_000).map(lambda n: n / 100)),
    st.one_of(st.none(), st.integers(-40, 150).map(float)),
    st.one_of(st.none(), st.integers(0, 2**64 - 1)),
)


@given(st.lists(samples), st.booleans())
def test_what_is_written_is_read_again(drawn, units):
    assert read_smi(write_smi(drawn, units=units)) == tuple(drawn)


@given(ANYTHING)
@example("\ud800")
@example('"' + "x" * 140_000)
@example("timestamp, timestamp\n")
@example("RAM 1/2MB GR3D_FREQ 5%@[" + "9" * 400 + "]")
def test_any_text_is_read_or_refused(text):
    for read in (read_smi, read_tegrastats):
        try:
            found = read(text)
        except InputError as error:
            assert str(error)
        else:
            assert isinstance(found, tuple)


def test_reasons_have_names_and_some_spoil():
    sample = read_smi(LINE + "\n")[0]
    assert sample.reason_names == sample.spoiled_by == ("hw slowdown", "hw thermal slowdown")
    assert name_reasons(sum(REASONS)) == tuple(REASONS.values()) and name_reasons(0x201) == (
        "gpu idle",
        "bit 0x200",
    )
    assert (
        spoils(0x113) == ()
        and read_smi(LINE.replace("0x0000000000000048", "[N/A]") + "\n")[0].spoiled_by == ()
    )


def test_the_query_may_be_another_one():
    fields = ("clocks.sm", "timestamp")
    assert read_smi("[N/A], 2024/05/31 12:00:00.123\n", fields)[0].sm_mhz is None
    assert read_smi(LINE + "\n", EVENT_FIELDS) == read_smi(LINE + "\n", FIELDS)
    with pytest.raises(InputError, match="once, and the time"):
        read_smi("1\n", ("clocks.sm",))
    with pytest.raises(InputError, match="unknown field 'clock'"):
        read_smi("1\n", ("clock",))


def test_refusals_name_line_and_value():
    with pytest.raises(InputError, match=r"line 2: sm_mhz is '1 GHz'"):
        read_smi(f"{LINE}\n{LINE.replace('1590 MHz', '1 GHz')}\n")
    with pytest.raises(InputError, match="line 1 has 2 values, and 7 fields"):
        read_smi("a, b\n")
    with pytest.raises(InputError, match=r"line 1 is none of tegrastats: 'hello'"):
        read_tegrastats("hello")
    assert read_smi("") == () == read_tegrastats("\n")


def test_records_travel_between_processes():
    for record in (*read_smi(LINE + "\n"), *read_tegrastats("RAM 1/2MB gpu@3C VDD_IN 1mW/2mW")):
        assert pickle.loads(pickle.dumps(record)) == record


def test_a_jetson_line_tells_of_its_gpu():
    (line,) = read_tegrastats(
        "RAM 1/2MB GR3D_FREQ 7%@[0,0] EMC_FREQ 1%@665 tj@46.5C VDD_CPU_GPU_CV 900mW/800mW"
    )
    found = gpu_sample(line, 1.5)
    assert (found.seconds, found.utilization_percent, found.sm_mhz) == (1.5, 7.0, None)
    assert (found.memory_mhz, found.power_watts, found.temperature_celsius) == (665.0, 0.9, 46.5)
    (bare,) = read_tegrastats("RAM 1/2MB GR3D_FREQ @[314, 315] CPU [1%@2]")
    assert gpu_sample(bare, 0.0).sm_mhz == 315.0 and gpu_sample(bare, 0.0).power_watts is None
