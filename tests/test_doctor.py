"""ov-doctor on machines that are made up: each has one thing wrong, at the most."""

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from apps import healthy
from fakes import FakeLoader, model_folder, write_registry
from machines import DPKG, ROOT, Machine, Page
from model.servers import ThreadServer, free_port
from model.waiting import until

from main import create_app
from ov_server.errors import LoadFailed
from ov_server.settings import Settings

LIB = ROOT / "scripts" / "lib"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadServer]:
    """A server at which nothing is wrong."""
    registry = tmp_path_factory.mktemp("registry") / "registry.json"
    settings = Settings.model_validate({"registry_path": registry, "device": "CPU"})
    with ThreadServer(settings, create_app(settings, FakeLoader(), healthy)) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, running: ThreadServer) -> Machine:
    return Machine(tmp_path, running.port)


def only(page: Page, level: str, *words: str) -> str:
    """The remedy of the only finding of all."""
    assert len(page.findings) == 1, page.text
    return page.find(level, *words).remedy


# Health.


def test_a_healthy_machine_has_no_findings(machine: Machine) -> None:
    before = sorted(machine.home.rglob("*"))
    page = machine.ask()
    assert (page.code, page.findings) == (0, []), page.text
    assert page.text.endswith("All is well.\n")
    assert "GPU 8086:3e9b, Coffee Lake (Gen9.5), kernel driver i915" in page.text
    assert "OpenCL driver: intel-opencl-icd-legacy1 24.35.30872.36" in page.text
    assert "/dev/dri/renderD128: mo may use it" in page.text
    assert "on GPU, 16.0 tokens/s" in page.text
    assert "as the CPU: the same text" in page.text
    assert "the server answers on port" in page.text
    assert "\x1b" not in page.text
    assert sorted(machine.home.rglob("*")) == before
    assert len(machine.samples()) == 2


def test_fast_loads_no_model(machine: Machine) -> None:
    page = machine.ask("--fast")
    assert page.code == 0
    assert machine.samples() == []


def test_help_and_what_is_no_option(machine: Machine) -> None:
    assert machine.ask("--help").text.startswith("usage: ov-doctor")
    done = subprocess.run([machine.bin / "ov-doctor", "--what"], env=machine.env, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ov-doctor: There is no option '--what'.")


# Python and packages.


def test_without_packages_it_says_how_they_come_and_what_was_not_checked(machine: Machine) -> None:
    shutil.rmtree(machine.project / ".venv")
    page = machine.ask()
    assert page.find("BAD", "packages are not installed").remedy.startswith("make -C")
    assert page.find("BAD", "packages are not installed").remedy.endswith(" run")
    left_out = [line for line in page.text.splitlines() if "not checked: " in line]
    for what in ("the values", "its devices", "the registry", "what models say"):
        assert [line for line in left_out if what in line]
    assert len(left_out) == 4
    assert "Coffee Lake" in page.text


def test_without_a_python_it_says_how_one_comes(machine: Machine) -> None:
    (machine.project / "scripts/find-python").write_text("#!/bin/sh\nexit 1\n")
    (machine.project / ".venv/bin/python").unlink()
    page = machine.ask()
    assert page.find("BAD", "Python 3.11").remedy.startswith("sudo apt install python3")
    assert page.find("BAD", "packages are for is gone").remedy.startswith("rm -rf")
    assert "not checked: port 9000" in page.text


def test_packages_of_other_versions_are_named(machine: Machine) -> None:
    lock = machine.project / "requirements.lock"
    text = lock.read_text()
    lock.unlink()
    lock.write_text(text.replace("fastapi==", "fastapi==99.") + "nowhere==1.0 \\\n")
    page = machine.ask("--fast")
    remedy = page.find("BAD", "not 99.", "nowhere is missing").remedy
    assert "run.stamp; make" in remedy


def test_a_virtual_environment_that_does_not_start_is_broken(machine: Machine) -> None:
    python = machine.project / ".venv/bin/python"
    python.write_text("#!/bin/sh\necho 'no such library' >&2\nexit 1\n")
    assert "no such library" in machine.ask().find("BAD", "requirements.lock").text


def test_a_conversion_environment_that_is_not_there_is_to_know(machine: Machine) -> None:
    (machine.project / ".venv-convert/stamp").unlink()
    page = machine.ask("--fast")
    assert page.code == 0
    assert only(page, "note", "can't be converted").endswith("convert-env")


def test_scripts_that_no_path_leads_to_are_to_know(machine: Machine) -> None:
    (machine.bin / "ov-server").unlink()
    assert "install" in only(machine.ask("--fast"), "note", "not on this PATH: ov-server")


def test_scripts_of_another_copy_are_to_know(machine: Machine) -> None:
    (machine.bin / "ov-server").unlink()
    (machine.bin / "ov-server").symlink_to(ROOT / "scripts/ov-server")
    assert "install" in only(machine.ask("--fast"), "note", "another copy", "ov-server")


# Settings.


def test_a_bad_setting_is_named_as_the_service_reads_it(machine: Machine) -> None:
    machine.setting("OV_CACHE_GB='-1'\nOV_DEVCE=CPU\nno setting at all")
    page = machine.ask("--fast")
    assert str(machine.settings).split("/")[-1] in page.find("BAD", "OV_CACHE_GB='-1'").remedy
    assert "is OV_DEVICE meant?" in page.find("note", "OV_DEVCE").text
    assert page.find("note", "line 4 is not of the form NAME=value")


def test_a_shell_that_says_otherwise_than_the_service_is_to_know(machine: Machine) -> None:
    machine.setting("OV_DEVICE=GPU")
    page = machine.ask("--fast", OV_DEVICE="CPU", OV_MAX_LOADED="2")
    assert only(page, "note", "OV_DEVICE", "OV_MAX_LOADED").startswith("unset OV_DEVICE")


def test_a_port_that_is_none_is_broken(machine: Machine) -> None:
    machine.setting("PORT=many")
    assert "1 to 65535" in machine.ask("--fast").find("BAD", "PORT=many").remedy


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b c ", "b c"),
        ("  A = 'b c'", "b c"),
        ('A="b \\"c\\" \\n"', 'b "c" \\n'),
        ("A=b # c", "b # c"),
        ("A=b\\\nc", "bc"),
        ("A=1\nA=2", "2"),
        ("#A=1\n;A=1\n\nA=\\x", "x"),
        ("A=", ""),
    ],
)
def test_an_environment_file_is_read_as_systemd_does(tmp_path: Path, text: str, value: str) -> None:
    file = tmp_path / "env"
    file.write_text(text)
    assert run("envfile.py", str(file)) == f"A={value}\0"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, "-I", "-S", LIB / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# Graphics.


def test_the_current_driver_on_an_old_gpu_is_broken(machine: Machine) -> None:
    machine.without_gpu_driver()
    machine.answer(DPKG, "installed intel-opencl-icd 25.31.34666.3")
    (machine.vendors / "intel.icd").write_text("/usr/lib/libigdrcl.so\n")
    (machine.root / "usr/lib/libigdrcl.so").touch()
    page = machine.ask()
    found = page.find("BAD", "25.31.34666.3 serves Gen12 and newer, not Gen9.5")
    assert "intel-opencl-icd-legacy1_" in found.remedy
    assert "ov-doctor" in page.find("BAD", "it finds no GPU").remedy
    machine.answer("apt-cache policy intel-opencl-icd-legacy", "  Candidate: 24.35.30872.32-2")
    found = machine.ask().find("BAD", "not Gen9.5")
    assert found.remedy == "sudo apt install intel-opencl-icd-legacy"


def test_an_older_regular_driver_serves_an_old_gpu(machine: Machine) -> None:
    machine.answer(DPKG, "installed intel-opencl-icd 23.43.27642.40-1ubuntu3")
    (machine.vendors / "intel_legacy1.icd").write_text("libigdrcl.so\n")
    page = machine.ask()
    assert (page.code, page.findings) == (0, []), page.text


def test_no_driver_is_broken_and_apts_own_is_taken_where_it_is_old_enough(machine: Machine) -> None:
    machine.without_gpu_driver()
    machine.answer("apt-cache policy intel-opencl-icd", "  Candidate: 22.43.24595.41-1")
    found = machine.ask("--fast").find("BAD", "none that serves Gen9.5")
    assert found.remedy == "sudo apt install intel-opencl-icd"


def test_a_new_gpu_needs_the_current_driver(machine: Machine) -> None:
    machine.answer("devices", "is\tCPU\tIntel(R) Core(TM) i7")
    (machine.gpu / "device").write_text("0x46a6\n")
    found = machine.ask("--fast").find("BAD", "serves Gen11 and older, not Gen12")
    assert found.remedy.startswith("sudo apt install intel-opencl-icd ")
    machine.answer("devices", "is\tCPU\ti7\nis\tGPU\tIris")
    machine.answer(DPKG, "installed intel-opencl-icd 25.31.34666.3")
    page = machine.ask()
    assert (page.code, page.findings) == (0, []), page.text


def test_a_gpu_that_no_driver_serves_is_to_know(machine: Machine) -> None:
    (machine.gpu / "device").write_text("0x0412\n")
    assert "OV_DEVICE=CPU" in only(machine.ask("--fast"), "note", "no driver for this GPU")


def test_a_gpu_without_a_kernel_driver_is_broken(machine: Machine) -> None:
    (machine.gpu / "driver").unlink()
    found = machine.ask("--fast").find("BAD", "8086:3e9b", "no kernel driver")
    assert found.remedy.startswith("sudo modprobe i915")
    (machine.gpu / "driver").symlink_to("../../drivers/vfio-pci")
    assert "lspci" in machine.ask("--fast").find("BAD", "vfio-pci has it").remedy


def test_no_loader_of_opencl_is_broken(machine: Machine) -> None:
    machine.answer("devices", "is\tCPU\tIntel(R) Core(TM) i7")
    machine.answer("ldconfig -p", "libigc.so.1 => /y")
    found = machine.ask("--fast").find("BAD", "libOpenCL.so.1")
    assert found.remedy == "sudo apt install ocl-icd-libopencl1"


def test_a_driver_whose_compiler_is_not_found_is_broken(machine: Machine) -> None:
    machine.answer("devices", "is\tCPU\tIntel(R) Core(TM) i7")
    machine.answer("ldconfig -p", "libOpenCL.so.1 => /x\nlibigc.so.2 => /y")
    found = machine.ask("--fast").find("BAD", "libigc.so.1")
    assert found.remedy.startswith("sudo ldconfig")


def test_a_driver_that_is_named_and_not_there_is_broken(machine: Machine) -> None:
    machine.answer("devices", "is\tCPU\tIntel(R) Core(TM) i7")
    (machine.root / "usr/lib/libigdrcl_legacy1.so").unlink()
    assert machine.ask("--fast").find("BAD", "libigdrcl_legacy1.so, which is not there")


def test_a_driver_that_nothing_names_is_broken(machine: Machine) -> None:
    machine.answer("devices", "is\tCPU\tIntel(R) Core(TM) i7")
    (machine.vendors / "intel_legacy1.icd").unlink()
    found = machine.ask("--fast").find("BAD", "no file in /etc/OpenCL/vendors")
    assert "--reinstall" in found.remedy


def test_what_is_odd_and_works_is_to_know(machine: Machine) -> None:
    machine.answer("ldconfig -p", "")
    page = machine.ask("--fast", OCL_ICD_VENDORS="/elsewhere")
    assert page.code == 0
    assert page.find("note", "libOpenCL.so.1")
    assert page.find("note", "/elsewhere").remedy == "unset OCL_ICD_VENDORS"


def test_whoever_is_not_in_the_render_group_is_told_so(machine: Machine) -> None:
    closed(machine)
    machine.answer("id -nG", "mo")
    machine.answer("id -nG -- mo", "mo")
    found = machine.ask("--fast").find("BAD", "mo is not in its group, render")
    assert found.remedy.startswith("sudo usermod -aG render mo")


def closed(machine: Machine) -> None:
    """Nobody can open the node, not even root: a link to nowhere."""
    machine.node.unlink()
    machine.node.symlink_to("nowhere")


def test_rights_that_only_the_screen_gives_are_to_know(machine: Machine) -> None:
    machine.answer("id -nG", "mo")
    machine.answer("id -nG -- mo", "mo")
    remedy = only(machine.ask("--fast"), "note", "not over SSH or in the service")
    assert remedy.startswith("sudo usermod -aG render mo")


def test_a_login_that_began_before_its_group_is_broken(machine: Machine) -> None:
    machine.answer("id -nG", "mo")
    assert machine.ask("--fast").find("BAD", "began before").remedy.startswith("newgrp render")


def test_a_manager_that_began_before_its_users_group_is_broken(machine: Machine) -> None:
    (machine.root / "proc/4242/status").write_text("Groups:\t1000\n")
    remedy = only(machine.ask("--fast"), "BAD", "manager of mo's services")
    assert remedy.startswith("sudo systemctl restart user@1000")


def test_a_node_that_is_shut_or_missing_is_broken(machine: Machine) -> None:
    closed(machine)
    assert machine.ask("--fast").find("BAD", "can't open it").remedy.startswith("ls -l")
    machine.node.unlink()
    assert "container" in machine.ask("--fast").find("BAD", "renderD128 is not there").remedy
    (machine.gpu / "drm/renderD128").rmdir()
    assert "dmesg" in machine.ask("--fast").find("BAD", "no render node").remedy


def test_no_gpu_is_to_know_where_one_is_asked_for(machine: Machine) -> None:
    machine.without_gpu_driver()
    (machine.gpu / "vendor").write_text("0x1002\n")
    page = machine.ask("--fast")
    assert page.code == 0
    assert "OV_DEVICE=CPU" in only(page, "note", "no Intel GPU")
    machine.setting("OV_DEVICE=CPU")
    assert machine.ask("--fast").findings == []


def test_a_gpu_that_only_openvino_does_not_find_is_broken(machine: Machine) -> None:
    machine.answer("devices", "is\tCPU\tIntel(R) Core(TM) i7")
    assert "clinfo" in only(machine.ask(), "BAD", "it finds no GPU")


def test_a_device_that_is_asked_for_and_not_there_is_broken(machine: Machine) -> None:
    machine.setting("OV_DEVICE=NPU")
    assert "OV_DEVICE=CPU" in only(machine.ask("--fast"), "BAD", "OV_DEVICE=NPU")


def test_a_runtime_that_does_not_work_is_broken(machine: Machine) -> None:
    machine.no_answer("devices")
    assert "rm -rf" in only(machine.ask("--fast"), "BAD", "OpenVINO does not work")


def rows() -> list[tuple[str, str, list[str]]]:
    """Generation, driver, ids."""
    found = []
    for line in (LIB / "intel-gpus.txt").read_text().splitlines():
        if not line.startswith("#"):
            generation, driver, named = line.split(" ", 2)
            found.append((generation, driver, named.split(": ")[1].split()))
    return found


def test_every_gpu_stands_in_one_row() -> None:
    ids = [i for _, _, row in rows() for i in row]
    assert len(ids) == len(set(ids))
    plain = [i for i in ids if "?" not in i]
    patterns = [i for i in ids if "?" in i]
    assert all(len(i) == 4 and i == i.lower() for i in ids)
    assert len(plain) > 250
    assert {"0a84"} == {i for i in plain for p in patterns if fnmatchcase(i, p)}


@pytest.mark.parametrize(
    ("gpu", "generation", "driver"),
    [("3e9b", "Gen9.5", "legacy1"), ("0a84", "Gen9", "legacy1"), ("5a84", "Gen9", "legacy1"),
     ("5a41", "Gen10", "none"), ("9bc5", "Gen9.5", "legacy1"), ("9a49", "Gen12", "current"),
     ("4e61", "Gen11", "legacy1"), ("56a0", "Xe-HPG", "current"), ("64a0", "Xe2", "current"),
     ("0412", "Gen7", "none")],
)  # fmt: skip
def test_known_gpus_have_their_driver(gpu: str, generation: str, driver: str) -> None:
    first = next(row for row in rows() if any(fnmatchcase(gpu, i) for i in row[2]))
    assert first[:2] == (generation, driver)


# Models.


def test_a_registry_that_is_none_is_broken(machine: Machine) -> None:
    machine.registry.write_text('{"version": 1, "models": {')
    assert only(machine.ask("--fast"), "BAD", "registry").startswith("ov-convert-model --reindex")


def test_what_is_wrong_with_entries_and_their_files_is_named(machine: Machine) -> None:
    folder = machine.registry.parent
    for name in ("whole", "cut", "mute"):
        write_graph(model_folder(folder, name))
    (folder / "cut/openvino_model.bin").write_bytes(b"12")
    (folder / "mute/openvino_tokenizer.xml").unlink()
    entries = {name: {"path": name} for name in ("whole", "cut", "mute", "gone")}
    write_registry(machine.registry, {**entries, "odd": {"path": "whole", "pinned": 3}})
    page = machine.ask("--fast")
    assert "--remove gone" in page.find("BAD", "gone: There is no model").remedy
    assert page.find("BAD", "cut: openvino_model.bin is cut short: 2 of 8 bytes")
    assert page.find("BAD", "mute: The model folder 'mute' holds no openvino_tokenizer.xml")
    assert str(machine.registry.name) in page.find("BAD", "odd is left out: pinned").remedy
    assert len(page.findings) == 4
    assert "1 models with all their files" in page.text


def write_graph(folder: Path) -> None:
    """A model of one constant of 8 bytes."""
    (folder / "openvino_model.xml").write_text('<net><data offset="0" size="8"/></net>')
    (folder / "openvino_model.bin").write_bytes(b"12345678")
    (folder / "openvino_tokenizer.xml").write_text("<net/>")
    (folder / "openvino_tokenizer.bin").write_bytes(b"")


def test_a_model_of_ov_model_path_that_is_not_there_is_broken(machine: Machine) -> None:
    machine.setting("OV_MODEL_PATH=/nowhere/model")
    assert "OV_MODEL_PATH" in only(machine.ask("--fast"), "BAD", "There is no model")


# Room.


@pytest.mark.parametrize(("megabytes", "level"), [("500", "BAD"), ("5000", "note")])
def test_a_disk_that_fills_up(machine: Machine, megabytes: str, level: str) -> None:
    machine.answer("df", megabytes)
    page = machine.ask("--fast")
    assert page.find(level, "free for models").remedy.startswith("ov-convert-model")
    assert page.find(level, "free for the cache")
    assert len(page.findings) == 2


def test_a_folder_that_can_not_be_made_is_said(machine: Machine) -> None:
    (machine.home / ".cache").write_text("no folder")
    remedy = only(machine.ask("--fast"), "BAD", ".cache, where the cache should be, can't")
    assert remedy.startswith("sudo install -d -o mo ")
    assert "/.cache/ov-llm-server " in remedy
    (machine.home / ".cache").unlink()
    machine.setting(f"OV_REGISTRY_PATH='{machine.settings}/models/registry.json'")
    page = machine.ask("--fast")
    assert page.find("note", "where models should be, can't be written")


def test_a_cache_beyond_its_limit_is_to_know(machine: Machine) -> None:
    cache = machine.home / ".cache/ov-llm-server"
    cache.mkdir(parents=True)
    (cache / "kernels").write_bytes(b"1" * 3_000_000)
    machine.setting("OV_CACHE_GB=0.001")
    assert only(machine.ask("--fast"), "note", "above OV_CACHE_GB") == "ov-warm-models"


def test_memory_is_compared_with_what_is_to_fit(machine: Machine) -> None:
    machine.setting("OV_MEMORY_LIMIT_GB=100")
    assert "EDITOR" in only(machine.ask("--fast"), "note", "OV_MEMORY_LIMIT_GB=100")
    write_graph(model_folder(machine.registry.parent, "a"))
    write_registry(machine.registry, {"a": {"path": "a", "pinned": True, "kv_cache_gb": 64}})
    machine.setting("OV_MEMORY_LIMIT_GB=")
    assert "pinned" in only(machine.ask("--fast"), "BAD", "pinned models alone need 64.0 GB")


# The service and its port.


def test_a_failed_service_is_broken(machine: Machine) -> None:
    machine.answer("systemctl --user is-active ov-server", "failed")
    assert only(machine.ask("--fast"), "BAD", "failed").startswith("journalctl --user -u ov-server")


def test_a_service_that_does_not_start_by_itself_is_to_know(machine: Machine) -> None:
    machine.answer("systemctl --user is-active ov-server", "inactive")
    machine.answer("systemctl --user is-enabled ov-server", "disabled")
    page = machine.ask("--fast")
    assert page.find("note", "not started").remedy == "systemctl --user start ov-server"
    assert page.find("note", "disabled").remedy == "systemctl --user enable ov-server"
    machine.answer("systemctl --user is-enabled ov-server", "enabled")
    machine.answer("loginctl show-user mo --property Linger --value", "no")
    assert machine.ask("--fast").find("note", "while mo is").remedy == "loginctl enable-linger"


def test_no_unit_and_no_systemd_are_to_know(machine: Machine) -> None:
    unit = machine.home / ".config/systemd/user/ov-server.service"
    unit.write_text("older")
    subprocess.run(["touch", "-d", "2001-01-01", unit], check=True)
    assert only(machine.ask("--fast"), "note", "unit is older").endswith("install")
    unit.unlink()
    assert only(machine.ask("--fast"), "note", "not set up").endswith("install")
    machine.no_answer("systemctl --user show-environment")
    assert "make -C" in only(machine.ask("--fast"), "note", "systemd")


def test_a_port_at_which_nobody_answers(machine: Machine) -> None:
    machine.setting(f"PORT={free_port()}")
    assert "journalctl" in only(machine.ask("--fast"), "BAD", "nobody answers")
    machine.answer("systemctl --user is-active ov-server", "inactive")
    assert "make -C" in machine.ask("--fast").find("note", "no server answers").remedy


class Stranger(http.server.BaseHTTPRequestHandler):
    """Another program's answer."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'["hello"]')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_a_port_that_another_program_has_is_broken(machine: Machine) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = threading.Thread(target=stranger.serve_forever)
        thread.start()
        machine.setting(f"PORT={stranger.server_port}")
        page = machine.ask("--fast")
        stranger.shutdown()
        thread.join()
    assert f"sport = :{stranger.server_port}" in only(page, "BAD", "no ov-llm-server")


def test_what_degrades_a_server_is_told(machine: Machine, tmp_path: Path) -> None:
    registry = tmp_path / "registry.json"
    registry.write_text("{")
    settings = Settings.model_validate({"registry_path": registry, "device": "CPU"})
    with ThreadServer(settings, create_app(settings, FakeLoader(), healthy)) as server:
        machine.setting(f"PORT={server.port}")
        page = machine.ask("--fast")
    assert "journalctl" in only(page, "BAD", "degraded: registry:")


def test_a_server_that_wants_a_key_is_asked_with_one(machine: Machine, tmp_path: Path) -> None:
    registry = tmp_path / "registry.json"
    registry.write_text("{")
    keys = "ann=ann-0123456789abcdef"
    settings = Settings.model_validate(
        {"registry_path": registry, "device": "CPU", "api_keys": keys, "allowed_hosts": "a.example"}
    )
    with ThreadServer(settings, create_app(settings, FakeLoader(), healthy)) as server:
        machine.setting(f"PORT={server.port}")
        locked = machine.ask("--fast")
        machine.setting(f"OV_API_KEYS={keys}")
        told = machine.ask("--fast")
        registry.unlink()
        well = machine.ask("--fast")
    assert "OV_SERVER_KEY" in only(locked, "note", "wants a key to say why")
    assert "journalctl" in only(told, "BAD", "degraded: registry:")
    assert (well.code, well.findings) == (0, []), well.text
    assert keys.partition("=")[2] not in locked.text + told.text + well.text


def serving(machine: Machine, loader: FakeLoader | None = None) -> ThreadServer:
    """A server with the machine's registry."""
    settings = Settings.model_validate({"registry_path": machine.registry, "device": "CPU"})
    return ThreadServer(settings, create_app(settings, loader or FakeLoader(), healthy))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"version": 1, "models": {"org/a:1": {"path": "lost"}}}', "org/a:1: There is no model"),
        ('{"version": 1, "models": {"a b": {"path": "lost"}}}', "a b is left out: name"),
        ('{"version": 1, "models": {"a": {"path": "b: c", "pinned": 3}}}', "a is left out: pinned"),
        ('{"version": 1, "models": {', "registry.json: it is not a registry"),
    ],
)
def test_one_fault_is_one_finding_while_the_server_runs(
    machine: Machine, text: str, words: str
) -> None:
    machine.registry.write_text(text)
    with serving(machine) as server:
        machine.setting(f"PORT={server.port}")
        page = machine.ask("--model", "org/a:1") if "org" in text else machine.ask()
    assert only(page, "BAD", words)
    assert f"the server answers on port {server.port}: degraded, by what is said above" in page.text


def test_what_only_the_server_knows_is_told_beside_what_is_known(machine: Machine) -> None:
    write_graph(model_folder(machine.registry.parent, "a"))
    write_registry(machine.registry, {"a": {"path": "a"}, "gone": {"path": "gone"}})
    loader = FakeLoader()
    loader.errors["a"] = LoadFailed("no such layer")
    with serving(machine, loader) as server:
        server.act("/v1/models/a/load")
        machine.setting(f"PORT={server.port}")
        page = machine.ask("--fast")
    assert page.find("BAD", "gone: There is no model")
    assert page.find("BAD", f"the server on port {server.port} is degraded: a: no such layer")
    assert len(page.findings) == 2


def test_a_device_that_is_not_there_is_said_once(machine: Machine) -> None:
    machine.without_gpu_driver()
    (machine.gpu / "vendor").write_text("0x1002\n")

    def no_gpu(asked: str) -> tuple[str, str, str | None]:
        return "CPU", "a processor", f"OpenVINO finds no device {asked} (it finds CPU)"

    settings = Settings.model_validate({"registry_path": machine.registry, "device": "GPU"})
    with ThreadServer(settings, create_app(settings, FakeLoader(), no_gpu)) as server:
        until(lambda: server.get("/health").json()["reasons"], "the device's look")
        machine.setting(f"PORT={server.port}")
        assert only(machine.ask("--fast"), "note", "no Intel GPU")


# A test generation on each device.


def test_a_gpu_that_says_something_else_is_broken(machine: Machine) -> None:
    machine.says("GPU", "!!!!!!!!", 24)
    page = machine.ask()
    assert "OV_DEVICE=CPU" in only(page, "BAD", "on GPU", "!!!!", "int4")


def test_texts_that_part_late_are_no_fault(machine: Machine) -> None:
    text = "The capital of France is Paris, and it has been so for a very long time indeed."
    machine.says("CPU", text, 18)
    machine.says("GPU", text.replace("very long time", "thousand years"), 18)
    page = machine.ask()
    assert page.findings == []
    assert "as the CPU: the same text for 12 of 18 tokens" in page.text


def test_a_device_that_nobody_asks_for_breaks_nothing(machine: Machine) -> None:
    machine.setting("OV_DEVICE=CPU")
    machine.says("GPU", "!!!!!!!!", 24)
    page = machine.ask()
    assert page.code == 0
    assert page.find("note", "on GPU", "!!!!")


def test_a_device_on_which_nothing_loads_is_broken(machine: Machine) -> None:
    (machine.answers / "GPU.fails").write_text("a warning\nit does not run on GPU: out of memory")
    assert "OV_DEVICE=CPU" in only(machine.ask(), "BAD", "it does not run on GPU: out of memory")


def test_a_registered_model_speaks_where_it_is_named(machine: Machine) -> None:
    folder = machine.registry.parent
    write_graph(model_folder(folder, "qwen"))
    write_registry(machine.registry, {"qwen": {"path": "qwen", "aliases": ["q"], "device": "CPU"}})
    machine.says("GPU", "!!!!!!!!", 24)
    page = machine.ask("--model", "q")
    assert [str(folder / "qwen") in line for line in machine.samples()] == [True, True]
    assert "int8" in page.find("BAD", "qwen on GPU").remedy
    machine.answers.joinpath("samples").unlink()
    assert "--list" in machine.ask("--model", "nobody").find("BAD", "no model 'nobody'").remedy
    assert machine.samples() == []


@pytest.mark.parametrize(
    ("other", "agree"),
    [("The capital of France is Paris.", True), ("The capital of France is London", True),
     ("The cat", False), ("", False)],
)  # fmt: skip
def test_short_answers_have_to_agree_for_half_of_them(other: str, agree: bool) -> None:
    said = {"text": "The capital of France is Paris.", "tokens": 8, "seconds": 1.0}
    command = [sys.executable, LIB / "samples.py", "compare", json.dumps(said)]
    done = subprocess.run(
        [*command, json.dumps({**said, "text": other})], capture_output=True, check=False
    )
    assert done.returncode == (0 if agree else 3)
