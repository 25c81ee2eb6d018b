"""A llama-like GGUF as an OpenVINO model over a paged cache: tokens of many sequences in, logits of chosen rows out.

Knows no sampling and no requests. Whatever the file says that is not computed here makes it unfit, by name: nothing of
it is ever left out silently. Attention reads keys and values from blocks (Kwon et al. 2023, section 4), so sequences of
any lengths share one cache and one matrix product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from spearhead.nn import gguf_names
from spearhead.nn.gguf_header import Gguf, Tensor
from spearhead.runtimes.openvino import weights
from spearhead.runtimes.openvino.weights import Array, Shelf

ROTATED_NEIGHBOURS = "llama"
"""The architecture whose files hold query and key rows for a rotation of neighbours; the others rotate halves."""
SIZES = ("block_count", "embedding_length", "feed_forward_length", "attention.head_count", "context_length")
KNOWN = {
    *SIZES,
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.freq_base",
    "rope.dimension_count",
    "vocab_size",
}
"""Hyper-parameters that are honoured; any other makes a file unfit."""


class Unfit(Exception):
    """This model is not computed here; the reason is for people."""


@dataclass(frozen=True, slots=True)
class Form:
    """The sizes of a model."""

    architecture: str
    layers: int
    width: int
    hidden: int
    queries: int
    keys: int
    head: int
    epsilon: float
    theta: float
    context: int
    """Tokens that it was trained on at once."""
    vocabulary: int


def form(model: Gguf) -> Form:
    """The sizes of `model`; raises Unfit with the reason when it is not one of those computed here."""
    kind, said = model.architecture, model.metadata
    if kind not in gguf_names.ARCHITECTURES:
        raise Unfit(f"its architecture is {kind!r}")
    own = {key.removeprefix(f"{kind}."): value for key, value in said.items() if key.startswith(f"{kind}.")}
    if strange := sorted(set(own) - KNOWN):
        raise Unfit(f"it sets {kind}.{strange[0]}")
    for name in SIZES:
        if not isinstance(own.get(name), int) or not 0 < own[name] <= 1 << 24:
            raise Unfit(f"it does not set {kind}.{name}")
    for tensor in model.tensors.values():
        if tensor.layout not in weights.LAYOUTS:
            raise Unfit(f"{tensor.name} is in {tensor.layout}")
    if (table := model.tensors.get("token_embd.weight")) is None:
        raise Unfit("it has no token_embd.weight")
    queries = own["attention.head_count"]
    keys = own.get("attention.head_count_kv", queries)
    head = own.get("attention.key_length", own["embedding_length"] // queries)
    if own.get("attention.value_length", head) != head or own.get("rope.dimension_count", head) != head or head % 2:
        raise Unfit("its heads are not of one width")
    if not isinstance(keys, int) or not keys or queries % keys:
        raise Unfit(f"{queries} query heads do not share {keys} key heads")
    return Form(
        kind,
        own["block_count"],
        own["embedding_length"],
        own["feed_forward_length"],
        queries,
        keys,
        head,
        float(own.get("attention.layer_norm_rms_epsilon", 1e-5)),
        float(own.get("rope.freq_base", 10_000.0)),
        own["context_length"],
        table.shape[0],
    )


def build(model: Gguf, shape: Form, shelf: Shelf) -> ov.Model:
    """The model. Inputs: `tokens`, `places` (tokens,), `rows` (wanted,), the paging of `PAGING`, the caches by layer.

    Output: logits (wanted, vocabulary) in float32. Raises Unfit when a tensor is missing, strange or left over.
    """
    return _Builder(model, shape, shelf).whole()


PAGING = ("past_lens", "subsequence_begins", "block_indices", "block_indices_begins")
"""Of each sequence: tokens in the cache, where its new tokens begin, its blocks, where these begin. All int32."""
LONGEST = "max_context_len"


class _Builder:
    """One use: it notes which tensors the graph has taken."""

    def __init__(self, model: Gguf, shape: Form, shelf: Shelf) -> None:
        self.left: dict[str, Tensor] = dict(model.tensors)
        self.shape, self.shelf = shape, shelf
        self.inputs: list[Any] = []
        self.constants: dict[tuple[Any, ...], Any] = {}

    def whole(self) -> ov.Model:
        it = self.shape
        tokens, places = self.input("tokens", ov.Type.i64), self.input("places", ov.Type.i64)
        rows = self.input("rows", ov.Type.i64)
        paging = {name: self.input(name, ov.Type.i32) for name in PAGING}
        paging[LONGEST] = self.input(LONGEST, ov.Type.i32, rank=0)
        table = self.matrix([("token_embd.weight", (it.vocabulary, it.width), 0)])
        x = op.gather(table, tokens, self.whole_number(0))  # (tokens, width)
        turn = self.rotation(places)
        for layer in range(it.layers):
            x = self.layer(x, f"blk.{layer}.", turn=turn, paging=paging, layer=layer, rows=rows)
        x = self.norm(x, "output_norm.weight")
        if "output.weight" in self.left:
            table = self.matrix([("output.weight", (it.vocabulary, it.width), 0)])
        out = op.result(op.matmul(x, table, False, True))
        if self.left:
            raise Unfit(f"it has a tensor {sorted(self.left)[0]}")
        self.shelf.filled()  # before anybody looks: equal constants are merged
        return ov.Model([out], self.inputs, "text")

    def layer(
        self, x: Any, name: str, *, turn: tuple[Any, Any], paging: Mapping[str, Any], layer: int, rows: Any
    ) -> Any:
        """One layer over all tokens; the last one gives `rows` alone: of the others only the cache is read."""
        it = self.shape
        wide, narrow = it.queries * it.head, it.keys * it.head
        h = self.norm(x, f"{name}attn_norm.weight")
        parts = [(f"{name}attn_q", wide, it.width, it.queries), (f"{name}attn_k", narrow, it.width, it.keys)]
        parts += [(f"{name}attn_v", narrow, it.width, 0)]
        turning, v = self.split(self.product(h, parts), (wide + narrow, narrow))
        q, k = self.split(self.rotated(turning, turn, name), (wide, narrow))
        attended = self.attention(q, k, v, paging=paging, layer=layer)
        if layer + 1 == it.layers:
            x, attended = (op.gather(values, rows, self.whole_number(0)) for values in (x, attended))
        x = op.add(x, self.product(attended, [(f"{name}attn_output", it.width, wide, 0)]))
        h = self.norm(x, f"{name}ffn_norm.weight")
        gate, up = (self.product(h, [(f"{name}ffn_{part}", it.hidden, it.width, 0)]) for part in ("gate", "up"))
        return op.add(x, self.product(op.multiply(op.swish(gate), up), [(f"{name}ffn_down", it.width, it.hidden, 0)]))

    def attention(self, q: Any, k: Any, v: Any, *, paging: Mapping[str, Any], layer: int) -> Any:
        """The runtime's paged attention, which also writes `k` and `v` to the cache; its extras are left empty."""
        it = self.shape
        caches = [self.input(f"{part}_cache.{layer}", ov.Type.dynamic, rank=4) for part in ("key", "value")]
        whole, real, byte = (self.shared(kind, np.zeros(0, kind)) for kind in ("i4", "f4", "u1"))
        zero, square = self.shared("i4", np.int32(0)), self.shared("f4", np.zeros([0] * 4, "f4"))
        nodes = [q, k, v, *caches, *(paging[name] for name in PAGING), self.number(it.head**-0.5)]
        nodes += [zero, real, paging[LONGEST]]  # window, slopes
        nodes += [whole, whole, whole, real]  # score windows, rotation of evicted blocks
        nodes += [real, zero, zero, square, zero, whole, whole, whole, whole, byte, whole]  # sparse attention, sinks
        made = ov.op._PagedAttentionExtension([_output(node) for node in nodes])
        for key, value in (("k", it.keys), ("v", it.keys)):
            made.get_rt_info()[f"num_{key}_heads"] = value
            made.get_rt_info()[f"{key}_head_size"] = it.head
        return made.output(0)

    def rotation(self, places: Any) -> tuple[Any, Any]:
        """Cosine and sine (tokens, 1, 1, head) of rotary positions (Su et al. 2021, equation 34), halves together."""
        it = self.shape
        steps = it.theta ** (-np.arange(0, it.head, 2, dtype=np.float64) / it.head)
        if (factors := self.left.pop("rope_freqs.weight", None)) is not None:
            steps = steps / weights.floats(factors).reshape(-1)
        both = np.concatenate([steps, steps]).astype(np.float32).reshape(1, -1)
        angles = op.multiply(op.unsqueeze(op.convert(places, "f32"), self.numbers(1)), op.constant(both))
        between = self.numbers(1, 2)
        return op.unsqueeze(op.cos(angles), between), op.unsqueeze(op.sin(angles), between)

    def rotated(self, x: Any, turn: tuple[Any, Any], name: str) -> Any:
        """Queries and keys (tokens, heads x head), normed by head where the model does so, turned by their places.

        Written as the runtime knows it: what is turned becomes one operation that way.
        """
        it = self.shape
        heads, half = it.queries + it.keys, it.head // 2
        x = op.reshape(x, self.numbers(-1, heads, 1, it.head), False)  # (tokens, heads, 1, head)
        if it.architecture == "qwen3":
            gains = [self.floats(f"{name}attn_{part}_norm.weight", it.head) for part in ("q", "k")]
            x = self.normed(x, np.repeat(np.stack(gains), (it.queries, it.keys), axis=0)[None, :, None])
        low = op.slice(x, self.numbers(0), self.numbers(half), self.numbers(1), self.numbers(3))
        high = op.slice(x, self.numbers(half), self.numbers(it.head), self.numbers(1), self.numbers(3))
        minus = self.shared("f32", np.full((1, 1, 1, 1), -1, np.float32))
        turned = op.concat([op.multiply(high, minus), low], -1)
        x = op.add(op.multiply(x, turn[0]), op.multiply(turned, turn[1]))
        return op.reshape(x, self.numbers(-1, heads * it.head), False)

    def norm(self, x: Any, name: str) -> Any:
        """`x` (tokens, width), normed."""
        return self.normed(x, self.floats(name, self.shape.width).reshape(1, -1))

    def normed(self, x: Any, gain: Array) -> Any:
        """Root mean square norm over the last axis (Zhang and Sennrich 2019, equation 4)."""
        square = op.reduce_mean(op.power(x, self.number(2.0)), self.numbers(-1), True)
        root = op.sqrt(op.add(square, self.number(self.shape.epsilon)))
        return op.multiply(op.multiply(x, op.divide(self.number(1.0), root)), op.constant(np.ascontiguousarray(gain)))

    def split(self, x: Any, sizes: Sequence[int]) -> list[Any]:
        return list(op.variadic_split(x, self.whole_number(1), self.numbers(*sizes)).outputs())

    def number(self, value: float) -> Any:
        return self.shared("f32", np.float32(value))

    def whole_number(self, value: int) -> Any:
        return self.shared("i64", np.int64(value))

    def numbers(self, *values: int) -> Any:
        return self.shared("i64", np.array(values, np.int64))

    def shared(self, kind: str, values: Any) -> Any:
        """One constant for all its uses: compiling takes time by the node."""
        key = (kind, values.shape, values.tobytes())
        if key not in self.constants:
            self.constants[key] = op.constant(values)
        return self.constants[key]

    def product(self, x: Any, parts: Sequence[tuple[str, int, int, int]]) -> Any:
        """`x` times the matrices of `parts` (name, rows, columns, heads to put in order), side by side, with biases."""
        y = op.matmul(x, self.matrix([(f"{name}.weight", (a, b), heads) for name, a, b, heads in parts]), False, True)
        if f"{parts[0][0]}.bias" not in self.left:
            return y
        biases = [self.floats(f"{name}.bias", rows)[_order(rows, self.turned(heads))] for name, rows, _, heads in parts]
        return op.add(y, op.constant(np.concatenate(biases).reshape(1, -1)))

    def matrix(self, parts: Sequence[tuple[str, tuple[int, int], int]]) -> Any:
        tensors = [self.take(name, shape) for name, shape, _ in parts]
        if len({tensor.layout for tensor in tensors}) > 1:
            raise Unfit(f"{tensors[0].name} and its neighbours are in several layouts")
        orders = [_order(shape[0], self.turned(heads)) for _, shape, heads in parts]
        return weights.matrix(self.shelf, tensors, orders)

    def turned(self, heads: int) -> int:
        return heads if self.shape.architecture == ROTATED_NEIGHBOURS else 0

    def floats(self, name: str, width: int) -> Array:
        try:
            return weights.floats(self.take(name, (width,)))
        except ValueError as error:
            raise Unfit(str(error)) from None

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self.left.pop(name, None)
        if tensor is None or tensor.shape != shape:
            raise Unfit(f"{name} is {'missing' if tensor is None else f'of shape {list(tensor.shape)}'}")
        return tensor

    def input(self, name: str, kind: ov.Type, *, rank: int = 1) -> Any:
        node = op.parameter([-1] * rank, kind, name)
        node.output(0).set_names({name})
        self.inputs.append(node)
        return node


def _order(rows: int, heads: int) -> Any:
    """Where each row of a matrix lies in the file; a whole slice when it lies where it belongs."""
    return gguf_names.separate(np.arange(rows), heads=heads) if heads else slice(None)


def _output(node: Any) -> Any:
    return node if isinstance(node, ov.Output) else node.output(0)
