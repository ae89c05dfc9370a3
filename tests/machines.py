"""A machine for ov-doctor: a root with an Intel GPU, a home, a copy of the project, and stand-ins
for the programs that it asks. Healthy as it comes; tests break one thing each."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DPKG = "dpkg-query -W -f ${db:Status-Status} ${Package} ${Version}\\n intel-opencl-icd*"
LEGACY = "installed intel-opencl-icd-legacy1 24.35.30872.36"

STAND_IN = """#!/bin/sh
file="{answers}/$(printf '%s' "${{0##*/}} $*" | tr / _)"
[ -e "$file" ] && exec cat "$file"
exit 1
"""
DISK = "#!/bin/sh\necho Avail\ncat '{answers}/df'\n"
PYTHON = """#!/bin/sh
case "$*" in
    "-m ov_server.checkup devices") exec cat '{answers}/devices' ;;
    "-m ov_server.sample "*)
        device=$(printf '%s' "$*" | sed 's/.*--device \\([^ ]*\\).*/\\1/')
        echo "$*" >> '{answers}/samples'
        [ ! -e '{answers}'/"$device.fails" ] || {{ cat '{answers}'/"$device.fails" >&2; exit 1; }}
        exec cat '{answers}'/"$device.says" ;;
esac
exec {python} "$@"
"""
ASKED = ("systemctl", "loginctl", "dpkg-query", "apt-cache", "ldconfig", "id", "stat", "getent")


@dataclass(frozen=True)
class Finding:
    level: str
    text: str
    remedy: str


@dataclass(frozen=True)
class Page:
    """What ov-doctor said. Every finding has its remedy, or this can't be made."""

    code: int
    text: str
    findings: list[Finding]

    def bad(self) -> list[str]:
        return [f.text for f in self.findings if f.level == "BAD"]

    def notes(self) -> list[str]:
        return [f.text for f in self.findings if f.level == "note"]

    def find(self, level: str, *words: str) -> Finding:
        """The one finding of this level that has all of the words."""
        fit = [f for f in self.findings if f.level == level and all(w in f.text for w in words)]
        assert len(fit) == 1, self.text
        return fit[0]


def read_page(code: int, text: str) -> Page:
    lines = text.splitlines()
    findings = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if said := re.match(r"  (note|BAD) +(\S.*)", line):
            remedy = re.fullmatch(r"          mend: (\S.*)", after)
            assert remedy, f"no remedy: {line}"
            findings.append(Finding(said[1], said[2], remedy[1]))
    assert code == int(any(f.level == "BAD" for f in findings)), text
    return Page(code, text, findings)


class Machine:
    """A Mac mini of 2018 (Coffee Lake, Gen9.5) with everything that it needs."""

    def __init__(self, folder: Path, port: int):
        self.root = folder / "root"
        self.home = folder / "my home"
        self.project = folder / "the project"
        self.answers = folder / "answers"
        self.bin = folder / "bin"
        self.gpu = self.root / "sys/bus/pci/devices/0000:00:02.0"
        self.node = self.root / "dev/dri/renderD128"
        self.vendors = self.root / "etc/OpenCL/vendors"
        self.settings = self.home / ".config/ov-llm-server/ov-server.env"
        self.registry = self.home / "models/converted_models/registry.json"
        for path in (self.answers, self.bin, self.registry.parent, self.vendors):
            path.mkdir(parents=True)
        self._make_project()
        self._make_gpu()
        self._make_programs()
        self._make_service(port)
        self.env = {
            "HOME": str(self.home),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "OV_DOCTOR_ROOT": str(self.root),
        }

    def _make_project(self) -> None:
        shutil.copytree(ROOT / "scripts", self.project / "scripts")
        for name in ("ov_server", "requirements.lock", "ov-server.env", "ov-server.service"):
            (self.project / name).symlink_to(ROOT / name)
        (self.project / ".venv/bin").mkdir(parents=True)
        (self.project / ".venv-convert").mkdir()
        (self.project / ".venv-convert/stamp").touch()
        self._program(self.project / ".venv/bin/python", PYTHON)
        for script in (self.project / "scripts").glob("ov-*"):
            (self.bin / script.name).symlink_to(script)

    def _make_gpu(self) -> None:
        (self.gpu / "drm/renderD128").mkdir(parents=True)
        for name, text in {"vendor": "0x8086", "device": "0x3e9b", "class": "0x030000"}.items():
            (self.gpu / name).write_text(f"{text}\n")
        (self.gpu / "driver").symlink_to("../../drivers/i915")
        self.node.parent.mkdir(parents=True)
        self.node.touch()
        library = self.root / "usr/lib/libigdrcl_legacy1.so"
        library.parent.mkdir(parents=True)
        library.touch()
        (self.vendors / "intel_legacy1.icd").write_text("/usr/lib/libigdrcl_legacy1.so\n")

    def _make_programs(self) -> None:
        for name in ASKED:
            self._program(self.bin / name, STAND_IN)
        self._program(self.bin / "df", DISK)
        self._program(self.bin / "python3", '#!/bin/sh\nexec {python} "$@"\n')
        self.answer("df", "60000")
        self.answer("devices", "is\tCPU\tIntel(R) Core(TM) i7\nis\tGPU\tIntel(R) UHD Graphics 630")
        self.says("CPU", "The capital of France is Paris.")
        self.says("GPU", "The capital of France is Paris.")
        self.answer("ldconfig -p", "libOpenCL.so.1 => /x\nlibigc.so.1 => /y")
        self.answer(DPKG, LEGACY)
        self.answer("id -u", "1000")
        self.answer("id -un", "mo")
        self.answer("id -nG", "mo render")
        self.answer("id -nG -- mo", "mo render")
        self.answer(f"stat -c %G -- {self.node}", "render")
        self.answer("getent group render", "render:x:105:mo")
        (self.root / "proc/4242").mkdir(parents=True)
        (self.root / "proc/4242/status").write_text("Groups:\t105 1000\n")
        (self.root / "proc/meminfo").write_text("MemTotal:       65000000 kB\n")

    def _make_service(self, port: int) -> None:
        unit = self.home / ".config/systemd/user/ov-server.service"
        unit.parent.mkdir(parents=True)
        shutil.copy(ROOT / "ov-server.service", unit)
        self.settings.parent.mkdir(parents=True)
        self.settings.write_text(f"PORT={port}\n")
        self.answer("systemctl --user show-environment", "")
        self.answer("systemctl --user is-active ov-server", "active")
        self.answer("systemctl --user is-enabled ov-server", "enabled")
        self.answer("systemctl show user@1000.service --property MainPID --value", "4242")
        self.answer("loginctl show-user mo --property Linger --value", "yes")

    def _program(self, path: Path, text: str) -> None:
        path.write_text(text.format(answers=self.answers, python=sys.executable))
        path.chmod(0o755)

    def answer(self, command: str, said: str) -> None:
        """What a program says when it is called so; what has no answer fails."""
        (self.answers / command.replace("/", "_")).write_text(f"{said}\n")

    def no_answer(self, command: str) -> None:
        (self.answers / command.replace("/", "_")).unlink()

    def says(self, device: str, text: str, tokens: int = 8) -> None:
        """What any model says on a device."""
        said = {"text": text, "tokens": tokens, "seconds": 0.5}
        (self.answers / f"{device}.says").write_text(json.dumps(said))

    def without_gpu_driver(self) -> None:
        """No OpenCL driver at all: OpenVINO finds the CPU only."""
        self.answer("devices", "is\tCPU\tIntel(R) Core(TM) i7")
        self.answer(DPKG, "")
        (self.vendors / "intel_legacy1.icd").unlink()

    def setting(self, line: str) -> None:
        with self.settings.open("a") as file:
            file.write(f"{line}\n")

    def samples(self) -> list[str]:
        """The generations that were asked for."""
        path = self.answers / "samples"
        return path.read_text().splitlines() if path.exists() else []

    def ask(self, *arguments: str, **env: str) -> Page:
        done = subprocess.run(
            [self.bin / "ov-doctor", *arguments],
            env=self.env | env,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return read_page(done.returncode, done.stdout)
