"""The emulated module has exactly the names of the version that it plays."""

from __future__ import annotations

import pytest

from pytest_trt import emulator
from pytest_trt.emulator import surfaces
from pytest_trt.errors import NotEmulated, SettingsError

VERSIONS = emulator.known()


def load(product, version):
    return emulator.load(product, version, "a100")


def find(trt, name):
    found = trt
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_known_versions_are_those_of_the_surfaces():
    assert len(VERSIONS) == 12
    assert ("tensorrt", "8.6.1") in VERSIONS and ("tensorrt_rtx", "1.7.1.116") in VERSIONS


@pytest.mark.parametrize(("product", "version"), VERSIONS)
def test_every_real_name_is_there(product, version):
    trt, surface = load(product, version), surfaces.read(product, version)
    assert surface.classes and surface.enums
    for name, spec in surface.classes.items():
        kind = find(trt, name)
        for member in (*spec.methods, *spec.properties):
            if member != "__del__" and not spec.is_enum:
                assert member in vars(kind), f"{name}.{member}"
    for name in surface.functions:
        assert callable(getattr(trt, name))
    for name, meant in surface.constants.items():
        assert find(trt, name) == find(trt, meant)


@pytest.mark.parametrize(("product", "version"), VERSIONS)
def test_no_class_has_a_public_name_that_the_version_lacks(product, version):
    trt, surface = load(product, version), surfaces.read(product, version)
    for name, spec in surface.classes.items():
        if spec.is_enum:
            continue
        public = {key for key in vars(find(trt, name)) if not key.startswith("_")}
        nested = {key.rpartition(".")[2] for key in surface.enums if key.startswith(f"{name}.")}
        constants = {key.rpartition(".")[2] for key in surface.constants if key.startswith(f"{name}.")}
        hidden = {key for key in public if not hasattr(find(trt, name), key)}
        assert public - hidden <= {*spec.methods, *spec.properties, *nested, *constants}, name


@pytest.mark.parametrize(("product", "version"), VERSIONS)
def test_enumerations_have_the_members_and_values_of_the_version(product, version):
    trt, surface = load(product, version), surfaces.read(product, version)
    for name, members in surface.enums.items():
        kind = find(trt, name)
        assert {key: int(member) for key, member in kind.__members__.items()} == members
        for key in members:
            assert getattr(kind, key) is kind.__members__[key]


@pytest.mark.parametrize(("product", "version"), VERSIONS)
def test_an_unreal_name_is_an_attribute_error(product, version):
    trt = load(product, version)
    for owner in (trt, trt.IBuilderConfig, trt.BuilderFlag):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = owner.nonsense


def test_names_of_other_versions_are_not_there():
    old, new, rtx = load("tensorrt", "8.6.1"), load("tensorrt", "11.4"), load("tensorrt_rtx", "1.7")
    assert not hasattr(old, "IProgressMonitor") and not hasattr(old.INetworkDefinition, "flags")
    assert not hasattr(new.BuilderFlag, "FP16") and not hasattr(new.IBuilderConfig, "int8_calibrator")
    assert not hasattr(new, "ComputeCapability") and hasattr(rtx, "ComputeCapability")
    assert hasattr(old.IBuilderConfig, "max_workspace_size")
    assert not hasattr(rtx.ILayer, "precision")


def test_a_real_name_that_is_not_played_says_so():
    trt = load("tensorrt", "10.13")
    assert hasattr(trt.INetworkDefinition, "add_convolution_nd") and hasattr(
        trt.IPluginRegistry, "all_creators"
    )
    with pytest.raises(NotEmulated, match=r"does not play INetworkDefinition\.add_convolution_nd"):
        trt.Builder(trt.Logger()).create_network(1).add_convolution_nd(None)
    with pytest.raises(NotEmulated, match="IGpuAllocator"):
        trt.IGpuAllocator()
    with pytest.raises(NotEmulated, match=r"IPluginRegistry\.load_library"):
        trt.get_plugin_registry().load_library("libplugin.so")
    with pytest.raises(NotEmulated, match=r"plugin\.register"):
        _ = trt.plugin.register
    with pytest.raises(AttributeError, match="nonsense"):
        _ = trt.plugin.nonsense


def test_access_of_properties_is_that_of_the_bindings():
    trt = load("tensorrt", "11.4")
    builder = trt.Builder(trt.Logger())
    with pytest.raises(AttributeError):
        _ = builder.gpu_allocator  # write-only: trap 7
    with pytest.raises(AttributeError):
        builder.create_network().num_layers = 3
    with pytest.raises(AttributeError):
        builder.create_network().colour = 3
    with pytest.raises(TypeError, match="No constructor defined"):
        trt.IBuilderConfig()


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("tensorrt-10.13", ("tensorrt", "10.13.3.9")),
        ("tensorrt-10", ("tensorrt", "10.16.1.11")),
        ("tensorrt", ("tensorrt", "11.4.0.106")),
        ("tensorrt_rtx-1.7", ("tensorrt_rtx", "1.7.1.116")),
        ("tensorrt-8.6.1", ("tensorrt", "8.6.1")),
    ],
)
def test_a_shortened_version_means_the_newest_of_it(name, want):
    assert emulator.resolve(name) == want


@pytest.mark.parametrize("name", ["tensorrt-9", "tensorrt-10.1", "torch-2", "tensorrt_rtx-2"])
def test_an_unknown_version_lists_the_good_ones(name):
    with pytest.raises(SettingsError) as caught:
        emulator.resolve(name)
    assert "tensorrt-10.13.3.9" in str(caught.value) and "--trt-emulate=" in str(caught.value)


def test_an_unknown_gpu_or_device_is_refused():
    with pytest.raises(SettingsError):
        emulator.load("tensorrt", "10.13", "t5")
    with pytest.raises(SettingsError, match="unknown device"):
        emulator.load("tensorrt", "10.13", "t4", device="gpu")
