"""A model of one layer with random weights that speaks another model's tokens.

Whatever a runtime refuses about a request for other reasons than its weights, it refuses here
too, and nobody waits for it: it loads in 0.2 s. The shape is the one that OpenVINO makes paged
attention of: a stateful decoder, keys and values concatenated to what was read before.
"""

import shutil
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.op.util import Variable, VariableInfo

_WIDTH = 16
_COPIED = ("openvino_tokenizer.*", "openvino_detokenizer.*", "*.json")


def write(folder: Path, like: Path, vocabulary: int) -> None:
    """Into `folder`, with the tokenizer of the model at `like`, which has so many tokens."""
    for pattern in _COPIED:
        for file in like.glob(pattern):
            shutil.copy(file, folder / file.name)
    ov.save_model(_model(vocabulary), folder / "openvino_model.xml")


def _model(vocabulary: int) -> ov.Model:
    ids, mask, position = (
        _input(name, [-1, -1], np.int64) for name in ("input_ids", "attention_mask", "position_ids")
    )
    beam = _input("beam_idx", [-1], np.int32)
    random = np.random.default_rng(0)
    table = op.constant(random.standard_normal((vocabulary, _WIDTH)).astype(np.float32))
    place = op.unsqueeze(op.convert(position, "f32"), op.constant(2))
    x = op.gather(table, ids, op.constant(0))
    x = op.add(x, op.multiply(place, op.constant(np.float32(1e-6))))
    query, key, value = (_head(op.matmul(x, _weights(random), False, False)) for _ in range(3))
    kept = [_keep(part, name, ids, beam) for part, name in ((key, "key"), (value, "value"))]
    attended = op.scaled_dot_product_attention(
        query, *(node for node, _ in kept), _bias(mask), causal=False
    )
    merged = op.reshape(
        op.transpose(attended, op.constant([0, 2, 1, 3])), op.constant([0, 0, _WIDTH]), True
    )
    logits = op.matmul(op.add(x, merged), table, False, True)
    logits.output(0).set_names({"logits"})
    sinks = [sink for _, sink in kept]
    results, inputs = [logits.output(0)], [ids, mask, position, beam]
    return ov.Model(results, sinks, inputs, "tiny")  # ty: ignore[no-matching-overload]


def _input(name: str, shape: list[int], kind: type) -> ov.op.Parameter:
    node = op.parameter(shape, kind, name=name)
    node.output(0).set_names({name})
    return node


def _weights(random: np.random.Generator) -> ov.Node:
    return op.constant(random.standard_normal((_WIDTH, _WIDTH)).astype(np.float32) / _WIDTH)


def _head(x: ov.Node) -> ov.Node:
    """[batch, tokens, width] to [batch, 1 head, tokens, width]."""
    split = op.reshape(x, op.constant([0, 0, 1, _WIDTH]), True)
    return op.transpose(split, op.constant([0, 2, 1, 3]))


def _bias(mask: ov.Node) -> ov.Node:
    """What attention adds: nothing where the mask is 1, next to minus infinity where it is 0."""
    wide = op.unsqueeze(op.convert(mask, "f32"), op.constant([1, 2]))
    return op.multiply(op.subtract(op.constant(np.float32(1)), wide), op.constant(np.float32(-1e9)))


def _keep(new: ov.Node, name: str, ids: ov.Node, beam: ov.Node) -> tuple[ov.Node, ov.Node]:
    """The KV cache: what was read before with what is new behind it, and its way into the state."""
    info = VariableInfo()
    info.data_shape = ov.PartialShape([-1, 1, -1, _WIDTH])
    info.data_type = ov.Type.f32
    info.variable_id = f"past_key_values.0.{name}present.0.{name}"
    variable = Variable(info)
    batch = op.gather(op.shape_of(ids), op.constant([0]), op.constant(0))
    empty = op.concat([batch, op.constant(np.array([1, 0, _WIDTH], np.int64))], 0)
    before = op.read_value(op.broadcast(op.constant(np.float32(0)), empty), variable)
    whole = op.concat([op.gather(before, beam, op.constant(0)), new], 2)
    return whole, op.assign(whole, variable)
