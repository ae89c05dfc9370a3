"""Whether an export is whole: optimum-cli exits with 0 also where it is not. Standard library.

`exported.py SOURCE EXPORT TASK LOG` adds what vision models need and the export leaves out, and
prints what is wrong and exits with 3 where the model would not work.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import ending

BROKEN = ending.REFUSED
_MISSING = re.compile(r"^\s*(\S+)\s*\|\s*MISSING\s*\|", re.MULTILINE)
_UNUSED = ("pooler.", "bert.pooler.", "roberta.pooler.")
"""Weights that embeddings do not use and some models do not have."""
_PREPROCESSOR = "preprocessor_config.json"


def fault(export: Path, task: str, log: str) -> str | None:
    """What is wrong with it; None is nothing."""
    missing = [name for name in _MISSING.findall(log) if not _left_out(name, task)]
    if missing:
        return (
            f"{len(missing)} tensors are missing from its weights, {missing[0]} among them, and "
            "the export put random numbers there: download the model again"
        )
    if not any(export.glob("openvino*_model.xml")):
        return "the export wrote no openvino_model.xml"
    if any(not xml.with_suffix(".bin").is_file() for xml in export.glob("openvino*.xml")):
        return "the export wrote an .xml file without its .bin file"
    if not (export / "openvino_tokenizer.xml").is_file() and task != "text-to-audio":
        return "the export made no tokenizer of it: look for what the log says about tokenizers"
    return None


def _left_out(name: str, task: str) -> bool:
    return task == "feature-extraction" and name.startswith(_UNUSED)


def complete(source: Path, export: Path) -> None:
    """Without preprocessor_config.json vision pipelines load and then fail on their first image."""
    if (export / _PREPROCESSOR).is_file():
        return
    if (source / _PREPROCESSOR).is_file():
        shutil.copyfile(source / _PREPROCESSOR, export / _PREPROCESSOR)
        return
    for folder in (export, source):
        processor = folder / "processor_config.json"
        if processor.is_file():
            found = json.loads(processor.read_text("utf-8")).get("image_processor")
            if isinstance(found, dict):
                (export / _PREPROCESSOR).write_text(json.dumps(found, indent=2), "utf-8")
                return


def main(source: str, export: str, task: str, log: str) -> None:
    if task == "image-text-to-text":
        complete(Path(source), Path(export))
    found = fault(Path(export), task, Path(log).read_text("utf-8", "replace"))
    if found:
        ending.say(f"{found}\n")
        sys.exit(BROKEN)


if __name__ == "__main__":
    ending.to_the_end(main)
