"""A home with models in it, and a converter whose optimum-cli is a stand-in: it writes in an
instant what an export leaves behind, or fails as exports do.
"""

import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .smalldisk import SmallDisk
from .terminal import Terminal

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "ov-convert-model"
LLAMA = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"}


def safetensors(shapes: dict[str, list[int]]) -> bytes:
    """A file of zeros; two bytes a number."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def gguf(kind: int = 0, offset: int = 0, data: int = 1024) -> bytes:
    """A GGUF file of one tensor of 256 numbers, whose weights are so many bytes of zeros."""
    name = struct.pack("<Q", 6) + b"weight"
    tensor = name + struct.pack("<IQIQ", 1, 256, kind, offset)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor
    return head + bytes(-len(head) % 32 + data)


def model(folder: Path, config: dict[str, Any] | None = None) -> Path:
    """A folder as it comes from a download, of the smallest kind."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(LLAMA if config is None else config))
    (folder / "model.safetensors").write_bytes(safetensors({"weight": [4, 8]}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


@dataclass
class House:
    """`source` is ~/models; `env` is what the script is called with, and `before` what with."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    bound_s: float = 60
    before: tuple[str, ...] = ()
    """Of every call."""
    cwd: Path | None = None

    def __post_init__(self) -> None:
        self._look_at(self.home / "models")
        self.source.mkdir(parents=True, exist_ok=True)
        own = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        if "OV_CONVERT_ENV" not in self.env:
            own["OV_CONVERT_ENV"] = str(self._stand_in())
        self.env = own | self.env

    def _look_at(self, source: Path) -> None:
        self.source = source
        self.out = self.source / "converted_models"
        self.og = self.source / "og_models"

    def behind(self, disk: SmallDisk) -> None:
        """From now on ~/models is on that disk."""
        self.before = disk.prefix
        self._look_at(disk.seen)

    def _stand_in(self) -> Path:
        """An environment whose optimum-cli is the stand-in, and whose hf is the real one."""
        programs = self.home / "convert-env" / "bin"
        programs.mkdir(parents=True)
        text = Path(__file__).with_name("standin.py").read_text()
        standin = programs / "optimum-cli"
        standin.write_text(text.replace("#!python", f"#!{sys.executable}"))
        standin.chmod(0o755)
        (programs / "hf").symlink_to(Path(sys.executable).with_name("hf"))
        return programs.parent

    def obey_permissions(self) -> None:
        """Also where the tests are root's, to whom no file is closed."""
        if not os.geteuid():
            self.before = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")

    def model(self, name: str, config: dict[str, Any] | None = None) -> Path:
        return model(self.source / name, config)

    def call(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs the script to its end, without a terminal. Output and errors are one text."""
        with self._running(words, env) as process:
            try:
                said, _ = process.communicate(timeout=self.bound_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, said)

    def convert(self, *words: str, **env: str) -> str:
        """The same without questions and the check of the model; it has to succeed."""
        done = self.call("--yes", "--no-verify", *words, **env)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """The same as `convert`, for those who do not wait for its end."""
        return self._running(("--yes", "--no-verify", *words), env)

    def _running(self, words: tuple[str, ...], env: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.before, SCRIPT, *words],
            env=self.env | env,
            cwd=self.cwd or self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="surrogateescape",
        )

    def sit_down(self, *words: str, tostop: bool = False, **env: str) -> Terminal:
        """Runs the script with a terminal; `tostop` is stty's."""
        return Terminal([SCRIPT, *words], self.env | {"TERM": "dumb"} | env, self.home, tostop)

    @property
    def registry(self) -> dict[str, dict[str, Any]]:
        file = self.out / "registry.json"
        return json.loads(file.read_text())["models"] if file.exists() else {}

    @property
    def records(self) -> list[dict[str, Any]]:
        """The conversions that are under a final name, each of which has to be whole."""
        records = []
        for folder in sorted(self.out.glob("*/task-*")):
            assert (folder / "openvino_model.bin").stat().st_size
            assert (folder / "openvino_tokenizer.xml").is_file()
            records.append(json.loads((folder / "conversion.json").read_text()))
        return records

    @property
    def originals(self) -> list[str]:
        """Names of the folders that are whole, wherever they lie."""
        found = [*self.source.glob("*/tokenizer.json"), *self.og.glob("*/tokenizer.json")]
        return sorted(file.parent.name for file in found)

    @property
    def left_behind(self) -> list[str]:
        """Folders of work that are nobody's any more."""
        return [p.name for p in [*self.out.glob(".conv*"), *self.og.glob(".mov*")]]
