"""What a load needs of the machine: which device, and which driver."""

from pathlib import Path

import pytest

from ov_server.cancellation import Cancellation
from ov_server.machine import Machine, Resident, driver_stamp
from ov_server.remote import Start
from ov_server.stepping import Pipeline

# The device.


def paged(start: Start, cancellation: Cancellation) -> Resident:
    raise AssertionError("nothing is loaded")


def serial(*_: object) -> Pipeline:
    raise AssertionError("nothing is loaded")


def machine(*devices: str) -> Machine:
    return Machine(lambda: devices, str, "2026.4", str, paged, serial)


@pytest.mark.parametrize(
    "asked", ["CPU", "GPU", "GPU.0", "GPU.1", "AUTO", "AUTO:GPU,CPU", "HETERO:GPU,CPU", "MULTI:GPU"]
)
def test_what_is_there_is_used(asked: str) -> None:
    assert machine("CPU", "GPU.0", "GPU.1").choose(asked) == (asked, None)


@pytest.mark.parametrize("asked", ["GPU", "GPU.0", "NPU"])
def test_what_is_not_there_is_the_cpu_and_says_so(asked: str) -> None:
    device, warning = machine("CPU").choose(asked)
    assert device == "CPU"
    assert warning is not None
    assert warning.startswith(f"OpenVINO finds no device {asked} (it finds CPU)")


# The driver.


def test_another_driver_has_another_stamp(tmp_path: Path) -> None:
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
    vendors = tmp_path / "etc/OpenCL/vendors"
    driver = libraries / "intel-opencl" / "libigdrcl.so"
    for folder in (vendors, driver.parent, tmp_path / "opt"):
        folder.mkdir(parents=True)
    stamps = [driver_stamp(tmp_path)]

    def write(path: Path, text: str) -> None:
        path.write_text(text)
        stamps.append(driver_stamp(tmp_path))

    write(vendors / "intel.icd", "/usr/lib/x86_64-linux-gnu/intel-opencl/libigdrcl.so\n")
    write(driver, "1")
    write(driver, "22")
    write(libraries / "libigc.so.1", "the compiler")
    write(libraries / "libze_intel_npu.so.1", "an NPU's")
    write(vendors / "theirs.icd", "libtheirs.so")
    write(libraries / "libtheirs.so", "found by its name")
    write(vendors / "own.icd", "/opt/own.so")
    write(tmp_path / "opt/own.so", "by its path")
    assert len(set(stamps)) == len(stamps)
    assert driver_stamp(tmp_path) == stamps[-1]
    (libraries / "libpng.so").write_text("not a driver")
    assert driver_stamp(tmp_path) == stamps[-1]


@pytest.mark.parametrize("named", [b"", b"\0\xff/", b"/", b"../x", b"/nowhere.so", b"x" * 5000])
def test_no_vendors_file_is_in_the_way(tmp_path: Path, named: bytes) -> None:
    vendors = tmp_path / "etc/OpenCL/vendors"
    (vendors / "folder.icd").mkdir(parents=True)
    (vendors / "a.icd").write_bytes(named)
    (tmp_path / "usr/lib64").mkdir(parents=True)
    assert driver_stamp(tmp_path) == driver_stamp(tmp_path)
