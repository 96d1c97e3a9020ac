"""The table of GPU classes."""

from __future__ import annotations

import pytest

from pytest_trt import hardware
from pytest_trt.errors import SettingsError
from pytest_trt.hardware.classes import parse
from pytest_trt.records import PRECISIONS


def test_names_are_products_and_each_can_be_had() -> None:
    names = hardware.names()
    assert len(names) == len(set(names)) > 20
    assert not [name for name in names if name.startswith("sm")]
    for name in names:
        kind = hardware.get(name)
        assert kind.name == name
        assert kind.devices and kind.title and kind.family
        assert "fp32" in kind.precisions <= set(PRECISIONS)


@pytest.mark.parametrize(
    ("name", "sm", "precisions"),
    [
        ("t4", 75, "fp32 fp16 int8"),
        ("v100", 70, "fp32 fp16 int8"),
        ("p4", 61, "fp32 int8"),
        ("p100", 60, "fp32 fp16"),
        ("a100", 80, "fp32 tf32 fp16 bf16 int8"),
        ("l4", 89, "fp32 tf32 fp16 bf16 int8"),
        ("rtx5090", 120, "fp32 tf32 fp16 bf16 int8"),
    ],
)
def test_class_has_the_precisions_of_its_architecture(name: str, sm: int, precisions: str) -> None:
    kind = hardware.get(name)
    assert (kind.sm, kind.precisions) == (sm, frozenset(precisions.split()))


def test_get_takes_aliases_any_case_and_capabilities() -> None:
    assert hardware.get("RTX30") is hardware.get("rtx3090")
    assert hardware.get(" T4 ").name == "t4"
    generic = hardware.get("sm86")
    assert generic.is_generic and generic.capability == "8.6"
    assert hardware.get("thor").capability == "11.0"


def test_unknown_class_lists_the_good_ones_and_guesses() -> None:
    with pytest.raises(SettingsError) as caught:
        hardware.get("a1000")
    text = str(caught.value)
    assert "unknown GPU class 'a1000': did you mean 'a100'?" in text
    assert all(name in text for name in hardware.names())
    with pytest.raises(SettingsError, match=r"unknown GPU class 'zzzzzz'$"):
        try:
            hardware.get("zzzzzz")
        except SettingsError as error:
            raise SettingsError(error.what) from None


def test_generic_class_admits_every_product_of_its_capability() -> None:
    assert hardware.get("sm75").admits(hardware.get("t4"))
    assert not hardware.get("t4").admits(hardware.get("sm75"))
    assert not hardware.get("t4").admits(hardware.get("rtx2080"))
    assert not hardware.get("sm80").admits(hardware.get("t4"))


@pytest.mark.parametrize(
    ("title", "sm", "name"),
    [
        ("Tesla T4", 75, "t4"),
        ("NVIDIA A100-SXM4-80GB", 80, "a100"),
        ("NVIDIA A10G", 86, "a10"),
        ("NVIDIA GeForce RTX 3090 Ti", 86, "rtx3090"),
        ("NVIDIA L40S", 89, "l40s"),
        ("NVIDIA L4", 89, "l4"),
        ("NVIDIA H200", 90, "h200"),
        ("NVIDIA GH200 480GB", 90, "h200"),
        ("Orin (nvgpu)", 87, "orin"),
        ("NVIDIA RTX A6000", 86, "a40"),
        ("NVIDIA GB10", 121, "gb10"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 120, "rtxpro6000"),
        ("NVIDIA GeForce GTX 1650", 75, "sm75"),
        ("NVIDIA RTX 6000 Ada Generation", 89, "sm89"),
        ("Tesla V100-SXM2-16GB", None, "v100"),
    ],
)
def test_device_names_find_their_class(title: str, sm: int | None, name: str) -> None:
    kind = hardware.classify(title, sm)
    assert kind is not None and kind.name == name


def test_device_without_a_row_has_no_class() -> None:
    assert hardware.classify("NVIDIA Z9000", 999) is None
    assert hardware.classify("NVIDIA Z9000", None) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[sm.75]\nfamily="T"\nprecisions=["fp31"]', "unknown precisions"),
        ('[class.t4]\ntitle="T"\nsm=75\ndevices=["T4"]', "which no .sm.*. row describes"),
        (
            '[sm.75]\nfamily="T"\nprecisions=["fp32"]\n'
            '[class.a]\ntitle="A"\nsm=75\ndevices=["A"]\naliases=["b"]\n'
            '[class.b]\ntitle="B"\nsm=75\ndevices=["B"]',
            "a name that is taken",
        ),
    ],
)
def test_faulty_table_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("name", "multiples"),
    [
        ("t4", {"fp16": 8, "int8": 32}),
        ("v100", {"fp16": 8, "int8": 4}),
        ("p4", {"int8": 4}),
        ("a100", {"tf32": 4, "fp16": 8, "bf16": 8, "int8": 32}),
        ("sm120", {"tf32": 4, "fp16": 8, "bf16": 8, "int8": 32}),
    ],
)
def test_class_has_the_channel_multiples_of_its_kernels(name: str, multiples: dict[str, int]) -> None:
    assert hardware.get(name).multiples == multiples


def test_a_multiple_is_of_a_precision_that_the_class_has() -> None:
    with pytest.raises(SettingsError, match=r"\[sm\.75\] has multiples for \['tf32'\]"):
        parse('[sm.75]\nfamily = "Turing"\nprecisions = ["fp32"]\nmultiples = { tf32 = 4 }')
