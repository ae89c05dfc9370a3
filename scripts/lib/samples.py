"""What `python -m ov_server.sample --json` said, for people. Standard library.

`samples.py show SAMPLE` prints speed and text; `samples.py compare SAMPLE OTHER` how far two texts
agree, and exits with 3 when they part at once. Greedy answers of two devices may part late, by
rounding: what agrees for 8 tokens, or for half of a shorter answer, is taken for right. The server
judges alike (ov_server/selftest.py).
"""

import json
import sys

_ENOUGH = 8
"""Tokens."""


def show(sample: str) -> None:
    said = json.loads(sample)
    speed = f"{said['tokens'] / max(said['seconds'], 1e-3):.1f} tokens/s"
    figure = speed if said["tokens"] else f"{said['seconds']:.1f} s"
    text = json.dumps(said["text"], ensure_ascii=True)
    print(f"{figure}: {text if len(text) <= 70 else text[:66] + ' ...'}")


def compare(sample: str, other: str) -> None:
    first, second = json.loads(sample), json.loads(other)
    one, two = first["text"].strip(), second["text"].strip()
    if one == two:
        print("the same text")
        return
    pairs = zip(one, two, strict=False)
    common = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(two)))
    tokens = first["tokens"] or len(one.split())
    agreed = int(common * tokens / max(len(one), 1))
    print(f"the same text for {agreed} of {tokens} tokens")
    if agreed < min(_ENOUGH, tokens / 2):
        sys.exit(3)


if __name__ == "__main__":
    {"show": show, "compare": compare}[sys.argv[1]](*sys.argv[2:])
