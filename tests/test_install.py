"""make install and make uninstall in a home of their own, and the unit that they put there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from configparser import RawConfigParser
from copy import copy
from pathlib import Path

import pytest

from ov_server.settings import Settings

ROOT = Path(__file__).parent.parent
NAMES = sorted(script.name for script in (ROOT / "scripts").glob("ov-*"))
NEEDS_NAMESPACES = {
    "PrivateTmp", "PrivateDevices", "PrivateNetwork", "PrivateMounts", "PrivateUsers",
    "ProtectSystem", "ProtectHome", "ProtectProc", "ProtectHostname", "ProtectClock",
    "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups",
    "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "TemporaryFileSystem", "BindPaths",
    "CapabilityBoundingSet", "AmbientCapabilities", "DeviceAllow", "DevicePolicy", "User",
}  # fmt: skip
"""What systemd.exec(5) leaves to the system's manager, or to user namespaces."""


class Home:
    """A home folder, a copy of the project, and a systemctl that only writes down its calls."""

    def __init__(self, folder: Path, *, systemd: bool = True):
        self.home = folder / "my home"
        self.project = folder / "the project"
        self.calls = folder / "systemctl.calls"
        self.calls.touch()
        self.home.mkdir()
        shutil.copytree(ROOT / "scripts", self.project / "scripts")
        for name in ("ov-server.service", "ov-server.env", "pyproject.toml"):
            shutil.copy(ROOT / name, self.project)
        path = folder / "bin"
        path.mkdir()
        systemctl = path / "systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$*" >> "{self.calls}"\nexit {int(not systemd)}\n')
        systemctl.chmod(0o755)
        self.env = {"HOME": str(self.home), "PATH": f"{path}:{os.environ['PATH']}"}

    @property
    def config(self) -> Path:
        return self.home / ".config"

    @property
    def unit(self) -> Path:
        return self.config / "systemd" / "user" / "ov-server.service"

    @property
    def settings(self) -> Path:
        return self.config / "ov-llm-server" / "ov-server.env"

    def call(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.project / "scripts" / "install", *arguments],
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, **env: str) -> str:
        done = self.call(**env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def remove(self, **env: str) -> str:
        done = self.call("--remove", **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def copy(self, name: str) -> "Home":
        """The same home, and another copy of the project that installs into it."""
        other = copy(self)
        other.project = self.project.parent / name
        shutil.copytree(self.project, other.project)
        return other

    def bin(self, prefix: str = ".local") -> Path:
        return self.home / prefix / "bin"

    def files(self) -> set[str]:
        found = (path for path in self.home.rglob("*") if not path.is_dir())
        return {str(path.relative_to(self.home)) for path in found}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def service(unit: Path) -> dict[str, str]:
    """The keys of a unit's [Service]; a key that stands twice is a mistake."""
    parser = RawConfigParser(strict=True, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # ty: ignore[invalid-assignment]
    parser.read(unit, "utf-8")
    assert parser.sections() == ["Unit", "Service", "Install"]
    return dict(parser["Service"])


def verify(unit: Path, env: dict[str, str], runtime: Path) -> list[str]:
    """What systemd has to say against a unit; nothing where systemd is not there."""
    if shutil.which("systemd-analyze") is None:
        return []
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env=env | {"XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "ov-server" in line]
    return said or ([] if done.returncode == 0 else [done.stderr])


def test_it_links_every_script_and_sets_up_the_service(home: Home) -> None:
    said = home.install()
    assert "ov-server" in NAMES
    for name in NAMES:
        link = home.home / ".local" / "bin" / name
        assert os.readlink(link) == str(home.project / "scripts" / name)
    assert home.unit.read_text() == (ROOT / "ov-server.service").read_text()
    assert home.settings.read_text() == (ROOT / "ov-server.env").read_text()
    assert home.calls.read_text() == "--user daemon-reload\n"
    assert "systemctl --user enable --now ov-server" in said
    assert "loginctl enable-linger" in said


def test_a_second_time_changes_nothing(home: Home) -> None:
    home.install()
    before = home.files()
    home.install()
    assert home.files() == before
    assert ".local/bin/ov-server" in before


def test_removing_leaves_nothing_behind(home: Home) -> None:
    home.install()
    wants = home.unit.parent / "default.target.wants"
    wants.mkdir()
    (wants / "ov-server.service").symlink_to(home.unit)
    home.remove()
    assert home.files() == set()
    assert "--user disable --now ov-server.service" in home.calls.read_text()
    home.remove()


def test_changed_settings_stay_whatever_comes(home: Home) -> None:
    home.install()
    home.settings.write_text("OV_DEVICE=CPU\n")
    new = Path(f"{home.settings}.new")
    assert str(new) not in home.install()
    assert not new.exists()
    (home.project / "ov-server.env").write_text("#OV_NEW=1\n")
    assert str(new) in home.install()
    assert home.settings.read_text() == "OV_DEVICE=CPU\n"
    assert new.read_text() == "#OV_NEW=1\n"
    home.remove()
    assert home.files() == {".config/ov-llm-server/ov-server.env"}


def test_settings_that_nobody_changed_follow_the_project(home: Home) -> None:
    home.install()
    (home.project / "ov-server.env").write_text("#OV_NEW=1\n")
    home.install()
    assert home.settings.read_text() == "#OV_NEW=1\n"
    (home.project / "ov-server.env").write_text("#OV_NEWER=1\n")
    home.remove()
    assert home.files() == set()


def test_without_a_manager_to_talk_to_it_says_what_to_call(tmp_path: Path) -> None:
    home = Home(tmp_path, systemd=False)
    assert "systemctl --user daemon-reload" in home.install()
    home.remove()
    assert home.files() == set()


def test_another_prefix_and_another_place_for_settings_are_in_the_unit(
    home: Home, tmp_path: Path
) -> None:
    prefix, config = tmp_path / "opt 100%", tmp_path / "conf & more"
    places = {"PREFIX": str(prefix), "XDG_CONFIG_HOME": str(config)}
    home.install(**places)
    unit = config / "systemd" / "user" / "ov-server.service"
    keys = service(unit)
    assert keys["ExecStart"] == f'"{tmp_path}/opt 100%%/bin/ov-server"'
    assert keys["EnvironmentFile"] == f"-{config}/ov-llm-server/ov-server.env"
    assert (prefix / "bin" / "ov-server").is_symlink()
    assert home.files() == set()
    assert verify(unit, home.env, tmp_path) == []
    home.remove(**places)
    assert [path for path in (*prefix.rglob("*"), *config.rglob("*")) if not path.is_dir()] == []


@pytest.mark.parametrize(("prefix", "where"), [("~/own", "own"), ("rel", None)])
def test_a_prefix_may_begin_at_home_or_here(home: Home, prefix: str, where: str | None) -> None:
    done = subprocess.run(
        [home.project / "scripts" / "install"],
        env=home.env | {"PREFIX": prefix},
        cwd=home.project,
        check=True,
        capture_output=True,
    )
    assert done.returncode == 0
    base = home.home / where if where else home.project / prefix
    assert (base / "bin" / "ov-server").is_symlink()


def test_what_is_not_from_here_is_not_touched(home: Home) -> None:
    home.bin().mkdir(parents=True)
    (home.bin() / "ov-other").symlink_to("/bin/true")
    home.install()
    home.remove()
    assert home.files() == {".local/bin/ov-other"}
    assert os.readlink(home.bin() / "ov-other") == "/bin/true"


# What is in the way.


def anothers_file(home: Home) -> Path:
    link = home.bin() / "ov-server"
    link.write_text("somebody else's")
    return link


def anothers_script(home: Home) -> Path:
    """A link as ours are, into another project."""
    script = home.home / "other" / "scripts" / "ov-warm-models"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    (home.home / "other" / "pyproject.toml").write_text('[project]\nname = "other"\n')
    link = home.bin() / script.name
    link.symlink_to(script)
    return link


def anothers_gone_script(home: Home) -> Path:
    link = anothers_script(home)
    link.resolve().unlink()
    return link


def anothers_unit(home: Home) -> Path:
    home.unit.parent.mkdir(parents=True)
    home.unit.write_text("[Service]\nExecStart=/bin/true\n")
    return home.unit


def anothers_unit_for_the_same(home: Home) -> Path:
    anothers_unit(home)
    home.unit.write_text("[Unit]\nDescription=my own start of ov-llm-server in docker\n")
    return home.unit


def a_folder_for_the_settings(home: Home) -> Path:
    home.settings.mkdir(parents=True)
    (home.settings / "mine").touch()
    return home.settings


def a_file_for_a_folder(home: Home) -> Path:
    home.settings.parent.parent.mkdir()
    home.settings.parent.write_text("a file")
    return home.settings.parent


@pytest.mark.parametrize(
    "put",
    [
        anothers_file,
        anothers_script,
        anothers_gone_script,
        anothers_unit,
        anothers_unit_for_the_same,
        a_file_for_a_folder,
        a_folder_for_the_settings,
    ],
)
def test_what_is_in_the_way_stays_and_nothing_is_half_installed(
    home: Home, put: Callable[[Home], Path]
) -> None:
    home.bin().mkdir(parents=True)
    at = put(home)
    before, text = home.files(), at.read_text() if at.is_file() else ""
    done = home.call()
    assert (done.returncode, done.stdout) == (1, "")
    assert str(at) in done.stderr
    assert "nothing was changed" in done.stderr
    home.remove()
    assert home.files() == before
    assert text == (at.read_text() if at.is_file() else "")


# Several places, several copies.


def test_links_of_every_prefix_are_taken_back(home: Home, tmp_path: Path) -> None:
    places = [{}, {"PREFIX": str(tmp_path / "opt & 100%")}, {"PREFIX": "~/own"}]
    for place in places:
        home.install(**place)
    assert (tmp_path / "opt & 100%/bin/ov-server").is_symlink()
    assert "make -C" not in home.remove()
    assert home.files() == set()
    assert list((tmp_path / "opt & 100%/bin").iterdir()) == []


def test_a_link_that_an_older_version_put_where_the_unit_says_is_found(home: Home) -> None:
    home.install(PREFIX="~/own & 100%")
    (home.settings.parent / ".folders.installed").unlink()
    home.remove()
    assert home.files() == set()


def test_another_copy_takes_the_place_and_is_not_taken_back_by_the_first(home: Home) -> None:
    other = home.copy("the other")
    home.install()
    other.install()
    before = home.files()
    said = home.remove()
    assert home.files() == before
    assert "--user disable" not in home.calls.read_text()
    assert f"The links in {home.bin()} that lead to {other.project} stay" in said
    assert "The service and its settings" in said
    assert said.count("make -C ") == 2
    other.remove()
    assert home.files() == set()


def test_each_copy_takes_back_its_own_links(home: Home) -> None:
    other = home.copy("the other")
    home.install(PREFIX="~/own")
    other.install()
    said = other.remove()
    assert sorted(path.name for path in home.bin("own").iterdir()) == NAMES
    assert list(home.bin().iterdir()) == []
    assert str(home.project) in said
    assert not home.unit.exists()
    home.remove()
    assert home.files() == set()


def test_the_service_of_a_copy_stays_while_its_links_are_elsewhere(home: Home) -> None:
    other = home.copy("the other")
    home.install()
    other.install(PREFIX="~/own")
    home.remove()
    assert list(home.bin().iterdir()) == []
    assert service(home.unit)["ExecStart"] == '"%h/own/bin/ov-server"'
    assert home.settings.exists()
    other.remove()
    assert home.files() == set()


def test_a_project_that_moved_takes_back_what_it_installed(home: Home, tmp_path: Path) -> None:
    home.install(PREFIX="~/own")
    home.project = home.project.rename(tmp_path / "moved")
    home.remove()
    assert home.files() == set()


# Links of the owner's, say, into a repository of settings.


def linked(path: Path, to: Path, text: str) -> str:
    """What the link says."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)
    return os.readlink(path)


@pytest.mark.parametrize("text", ["OV_DEVICE=CPU\n", (ROOT / "ov-server.env").read_text()])
def test_settings_that_are_a_link_stay(home: Home, text: str) -> None:
    own = home.home / "dotfiles" / "env"
    link = linked(home.settings, own, text)
    home.install()
    new = Path(f"{home.settings}.new")
    assert new.exists() == (text == "OV_DEVICE=CPU\n")
    (home.project / "ov-server.env").write_text("#OV_NEW=1\n")
    assert str(new) in home.install()
    assert str(home.settings) in home.remove()
    assert (os.readlink(home.settings), own.read_text()) == (link, text)
    assert home.files() == {".config/ov-llm-server/ov-server.env", "dotfiles/env"}


def test_settings_that_are_a_link_to_nowhere_stay(home: Home) -> None:
    own = home.home / "dotfiles" / "env"
    link = linked(home.settings, own, "")
    own.unlink()
    home.install()
    assert str(home.settings) in home.remove()
    assert os.readlink(home.settings) == link
    assert home.files() == {".config/ov-llm-server/ov-server.env"}


def test_a_unit_that_is_a_link_stays(home: Home) -> None:
    own = home.home / "dotfiles" / "unit"
    link = linked(home.unit, own, "[Service]\n")
    new = Path(f"{home.unit}.new")
    assert str(new) in home.install()
    assert new.read_text() == (ROOT / "ov-server.service").read_text()
    own.write_text(new.read_text())
    assert str(new) not in home.install()
    assert not new.exists()
    assert "is a link and stays" in home.remove()
    assert os.readlink(home.unit) == link
    assert home.files() == {".config/systemd/user/ov-server.service", "dotfiles/unit"}
    assert "--user stop" in home.calls.read_text()
    assert "disable" not in home.calls.read_text(), "it removes units that are links"


def test_a_folder_of_settings_may_be_a_link(home: Home) -> None:
    (home.home / "dotfiles").mkdir()
    home.config.symlink_to("dotfiles")
    home.install()
    assert (home.home / "dotfiles/systemd/user/ov-server.service").is_file()
    home.remove()
    assert home.files() == set()
    assert os.readlink(home.config) == "dotfiles"


def test_links_of_a_project_that_moved_lead_to_the_new_place(home: Home, tmp_path: Path) -> None:
    home.install()
    gone = home.home / ".local" / "bin" / "ov-gone"
    home.project = home.project.rename(tmp_path / "moved")
    gone.symlink_to(home.project / "scripts" / "ov-gone")
    home.install()
    link = home.home / ".local" / "bin" / "ov-server"
    assert link.resolve() == home.project / "scripts" / "ov-server"
    assert not gone.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (["--what"], {}, "usage"),
        ([], {"SUDO_USER": "me"}, "without sudo"),
        ([], {"PREFIX": "/opt/it's"}, "PREFIX"),
    ],
)
def test_what_can_not_be_done_is_said_and_not_done(
    home: Home, arguments: list[str], env: dict[str, str], said: str
) -> None:
    done = home.call(*arguments, **env)
    assert done.returncode != 0
    assert said in done.stderr
    assert home.files() == set()


def test_make_installs_and_uninstalls_with_the_prefix() -> None:
    for target, call in (("install", "scripts/install"), ("uninstall", "scripts/install --remove")):
        done = subprocess.run(
            ["make", "-n", target, "PREFIX=/opt/x"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f'PREFIX="/opt/x" {call}' in done.stdout.splitlines()


# The unit.


def test_the_installed_unit_is_what_systemd_takes(home: Home, tmp_path: Path) -> None:
    home.install()
    assert verify(home.unit, home.env, tmp_path) == []
    keys = service(home.unit)
    assert (keys["Type"], keys["NotifyAccess"]) == ("notify", "main")
    assert keys["Restart"] == "on-failure"
    assert keys["KillMode"] == "mixed", "workers would be told to stop before their answers ended"
    assert keys["ExecStart"] == "%h/.local/bin/ov-server"
    assert keys["EnvironmentFile"] == "-%h/.config/ov-llm-server/ov-server.env"


def test_the_unit_waits_longer_than_answers_take_to_end() -> None:
    keys = service(ROOT / "ov-server.service")
    grace = Settings.model_fields["stop_grace_s"].default
    assert int(keys["TimeoutStopSec"]) > grace + 30
    assert int(keys["WatchdogSec"]) > 0


def test_the_unit_needs_no_privileges_and_keeps_the_gpu_and_the_compiler() -> None:
    keys = service(ROOT / "ov-server.service")
    assert not NEEDS_NAMESPACES & keys.keys()
    assert "MemoryDenyWriteExecute" not in keys
    assert keys["NoNewPrivileges"] == "yes"


def test_no_path_of_any_one_user_is_in_what_is_installed() -> None:
    for name in ("ov-server.service", "ov-server.env"):
        text = (ROOT / name).read_text()
        assert "/home/" not in text
        assert str(Path.home()) not in text.replace(str(ROOT), "")


# The wrapper that the unit calls.


def start(home: Home, program: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program], env=home.env, cwd="/", capture_output=True, text=True, check=False
    )


def test_the_server_starts_in_the_project_through_any_link(home: Home) -> None:
    python = home.project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PWD: $*"\n')
    python.chmod(0o755)
    home.install()
    link = home.home / "a link"
    link.symlink_to(home.home / ".local" / "bin" / "ov-server")
    for program in (link, home.project / "scripts" / "ov-server"):
        assert start(home, program).stdout == f"{home.project}: main.py\n"


def test_the_server_is_the_process_that_systemd_started(home: Home) -> None:
    """Or NotifyAccess=main would not let it say that it is ready."""
    python = home.project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho $$\n")
    python.chmod(0o755)
    with subprocess.Popen(
        [home.project / "scripts" / "ov-server"], env=home.env, stdout=subprocess.PIPE, text=True
    ) as process:
        said, _ = process.communicate()
        assert int(said) == process.pid


def test_a_project_without_packages_says_what_to_call(home: Home) -> None:
    done = start(home, home.project / "scripts" / "ov-server")
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "make run" in line
    assert str(home.project) in line


# By hand.


def started(home: Home, **env: str) -> dict[str, str]:
    """What the server finds in its environment, when `ov-server` is typed."""
    (home.project / "main.py").write_text("import json, os; print(json.dumps(dict(os.environ)))")
    (home.project / ".venv/bin").mkdir(parents=True, exist_ok=True)
    python = home.project / ".venv/bin/python"
    if not python.exists():
        python.symlink_to(sys.executable)
    done = subprocess.run(
        [home.bin() / "ov-server"], env=home.env | env, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_server_started_by_hand_has_the_services_settings(home: Home) -> None:
    home.install()
    text = "PORT=9425\nOV_DEVICE='GPU.1'\nLD_PRELOAD=x\nno line\nOV_MODEL_PATH=a b\n"
    home.settings.write_text(text)
    found = started(home, OV_DEVICE="CPU")
    assert (found["PORT"], found["OV_DEVICE"], found["OV_MODEL_PATH"]) == ("9425", "CPU", "a b")
    assert "LD_PRELOAD" not in found


def test_a_server_started_by_systemd_has_what_systemd_says(home: Home) -> None:
    home.install()
    home.settings.write_text("PORT=9425\n")
    assert "PORT" not in started(home, NOTIFY_SOCKET="@somewhere")
    home.settings.unlink()
    assert "PORT" not in started(home)
