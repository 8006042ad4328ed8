"""all-MiniLM-L6-v2 in numpy: a small BERT whose sentence vectors are computed without torch.

The weights stay in the file, mapped: processes share them, and what is not used is not read.
"""

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

DIMENSION, LAYERS, HEADS, WORDS, POSITIONS = 384, 6, 12, 30_522, 512
_INNER = 1536
_TINY = np.float32(1e-12)
#: Numbers taken together where there are many steps for each: as many as stay in a core's cache.
_BLOCK = 16_384
#: erf as a quotient of polynomials in x squared, highest power first; as good as 32 bits are up to its end at 4.
_ABOVE = (
    *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05),
    *(-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
)
_BELOW = (
    *(-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03),
    *(-7.37332916720468e-03, -1.42647390514189e-02),
)


@dataclass(frozen=True, slots=True)
class Linear:
    """A matrix and what is added after it."""

    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        """Apply it to the last axis; in one product, because numpy would make one for each text."""
        flat: Array = x.reshape(-1, x.shape[-1]) @ self.weight.T
        flat += self.bias
        return flat.reshape(*x.shape[:-1], -1)


@dataclass(frozen=True, slots=True)
class Norm:
    """Centres and scales the last axis."""

    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        """Apply it."""
        centred = x - x.mean(-1, keepdims=True)
        variance = np.square(centred).mean(-1, keepdims=True)
        return np.asarray(centred / np.sqrt(variance + _TINY) * self.weight + self.bias, np.float32)


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the encoder's layers."""

    query: Linear
    key: Linear
    value: Linear
    joined: Linear
    joined_norm: Norm
    inner: Linear
    outer: Linear
    outer_norm: Norm

    def __call__(self, x: Array, padding: Array) -> Array:
        """Apply it; `padding` is added to the scores of what may not be attended to."""
        scores = _heads(self.query(x)) @ _heads(self.key(x)).transpose(0, 1, 3, 2)
        attention = _softmax(scores / np.float32(np.sqrt(DIMENSION // HEADS)) + padding)
        mixed = (attention @ _heads(self.value(x))).transpose(0, 2, 1, 3).reshape(x.shape)
        x = self.joined_norm(x + self.joined(mixed))
        return self.outer_norm(x + self.outer(gelu(self.inner(x))))


class Bert:
    """The model: rows of token numbers in, vectors of length 1 out.

    Raises:
        ValueError, OSError, KeyError: the file is not all-MiniLM-L6-v2's.
    """

    def __init__(self, file: Path) -> None:
        tensors = _Tensors(file)
        self._words = tensors.get("embeddings.word_embeddings.weight", WORDS, DIMENSION)
        self._positions = tensors.get("embeddings.position_embeddings.weight", POSITIONS, DIMENSION)
        self._kind = tensors.get("embeddings.token_type_embeddings.weight", 2, DIMENSION)[0]
        self._norm = tensors.norm("embeddings.LayerNorm")
        self._layers = [_layer(tensors, f"encoder.layer.{number}") for number in range(LAYERS)]

    def vectors(self, rows: Sequence[Sequence[int]]) -> Array:
        """Return a vector for each row of tokens: the mean over them, brought to length 1."""
        longest = max(map(len, rows))
        tokens = np.array([[*row, *[0] * (longest - len(row))] for row in rows])
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], np.float32)
        padding = ((1 - mask) * np.finfo(np.float32).min)[:, None, None, :]
        x = self._norm(self._words[tokens] + self._positions[:longest] + self._kind)
        for layer in self._layers:
            x = layer(x, padding)
        mean = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)


def gelu(x: Array) -> Array:
    """Return x times the share of a normal distribution below x."""
    flat, found = x.reshape(-1), np.empty(x.size, np.float32)
    for start in range(0, x.size, _BLOCK):
        some = flat[start : start + _BLOCK]
        found[start : start + _BLOCK] = some * np.float32(0.5) * (1 + erf(some * np.float32(np.sqrt(0.5))))
    return found.reshape(x.shape)


def erf(x: Array) -> Array:
    """Return the error function, as exact as 32 bits are."""
    x = np.clip(x, -4, 4)
    square = x * x
    return np.asarray(x * _polynomial(_ABOVE, square) / _polynomial(_BELOW, square), np.float32)


def _polynomial(factors: Sequence[float], x: Array) -> Array:
    total = np.full_like(x, factors[0])
    for factor in factors[1:]:
        total *= x
        total += np.float32(factor)
    return total


def _softmax(x: Array) -> Array:
    x = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(x / x.sum(-1, keepdims=True), np.float32)


def _heads(x: Array) -> Array:
    rows, length, _ = x.shape
    return x.reshape(rows, length, HEADS, -1).transpose(0, 2, 1, 3)


def _layer(tensors: "_Tensors", name: str) -> Layer:
    inside = f"{name}.attention.self"
    return Layer(
        query=tensors.linear(f"{inside}.query", DIMENSION, DIMENSION),
        key=tensors.linear(f"{inside}.key", DIMENSION, DIMENSION),
        value=tensors.linear(f"{inside}.value", DIMENSION, DIMENSION),
        joined=tensors.linear(f"{name}.attention.output.dense", DIMENSION, DIMENSION),
        joined_norm=tensors.norm(f"{name}.attention.output.LayerNorm"),
        inner=tensors.linear(f"{name}.intermediate.dense", _INNER, DIMENSION),
        outer=tensors.linear(f"{name}.output.dense", DIMENSION, _INNER),
        outer_norm=tensors.norm(f"{name}.output.LayerNorm"),
    )


class _Tensors:
    """A file of safetensors, mapped: eight bytes say how long the JSON is that says where each tensor lies."""

    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._start = 8 + int.from_bytes(self._map[:8], "little")
        if self._start > len(self._map):
            raise ValueError("no safetensors file")
        self._header: dict[str, Any] = json.loads(self._map[8 : self._start])

    def get(self, name: str, *shape: int) -> Array:
        """Return a tensor of 32-bit numbers; ValueError if it has another shape or another kind of numbers."""
        told = self._header[name]
        begin, end = told["data_offsets"]
        if told["dtype"] != "F32" or told["shape"] != list(shape) or end - begin != 4 * int(np.prod(shape)):
            raise ValueError(f"{name} is not {shape} of 32-bit numbers")
        return np.ndarray(shape, np.dtype("<f4"), self._map, self._start + begin)

    def linear(self, name: str, outputs: int, inputs: int) -> Linear:
        return Linear(self.get(f"{name}.weight", outputs, inputs), self.get(f"{name}.bias", outputs))

    def norm(self, name: str) -> Norm:
        return Norm(self.get(f"{name}.weight", DIMENSION), self.get(f"{name}.bias", DIMENSION))
