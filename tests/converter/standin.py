#!python
"""Stands in for optimum-cli. STAND_IN says how it goes wrong; STAND_IN_GATE is a FIFO: it says so
when it is halfway, and waits until somebody has read that and written an answer."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path


def say(text: str, code: int | None = None) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    if code is not None:
        sys.exit(code)


def fill(folder: Path) -> OSError:
    """Until the disk takes no more."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (1 << 20, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                full = error
    return full


words = sys.argv[1:]
how = os.environ.get("STAND_IN", "")
out = Path(words[-1])
source = Path(words[words.index("--model") + 1])
assert words[:2] == ["export", "openvino"]
assert (source / "config.json").is_file()
say("Some of the lines of a run that goes well hold the word error.")

if how == "unheard":  # it may write, and those who listen may not
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
if how == "leaves":  # a process that holds what it writes to open
    subprocess.Popen(["sleep", "90"])
out.mkdir()
(out / "openvino_model.xml").write_text("<net/>")
if gate := os.environ.get("STAND_IN_GATE"):
    with open(gate, "w") as file:
        file.write("halfway\n")
    with open(gate) as file:
        file.read()
if how == "fails":
    say("Traceback (most recent call last):\nValueError: the shards do not fit", 1)
if how == "colours":
    say("the end\x1b]0;title\x07", 1)
if how == "full":
    say("OSError: [Errno 28] No space left on device", 1)
if how == "fills":
    say(f"OSError: {fill(out)}", 1)
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "code":
    say("ValueError: pass the argument `trust_remote_code=True` to allow it.", 1)
if how in ("missing", "unheard"):
    say("LlamaForCausalLM LOAD REPORT\nKey | Status |\nlm_head.weight | MISSING |")
if model := os.environ.get("STAND_IN_MODEL"):
    shutil.copytree(model, out, dirs_exist_ok=True)
else:
    (out / "openvino_model.bin").write_text("weights")
    if how != "no tokenizer":
        for name in ("openvino_tokenizer.xml", "openvino_tokenizer.bin"):
            (out / name).write_text("tokens")
(out / "words.txt").write_bytes(os.fsencode("\n".join(words)))
if how == "fills, misses":
    fill(out)
    say("TracerWarning: more than a page of these\n" * 1000)
    say("LlamaForCausalLM LOAD REPORT\nKey | Status |\nlm_head.weight | MISSING |")
