"""Why an engine ended, in words a person can act on: what common lines of its own log mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """What lines of a log mean."""

    line: str
    """Regular expression of such a line; its groups can be used in `means` as {0}, {1} …"""
    means: str


LLAMACPP = (
    Reason(
        r"unknown model architecture: '([^']*)'", "this llama.cpp does not know the architecture {0}: use a newer one"
    ),
    Reason(r"unknown pre-tokenizer type: '([^']*)'", "this llama.cpp does not know the tokenizer {0}: use a newer one"),
    Reason(
        r"tensor '([^']*)' data is not within the file bounds|model is corrupted or incomplete",
        "the model's file is cut short: `appliance model verify` it and import it again",
    ),
    Reason(
        r"(?:missing tensor|tensor(?= '[^']*' not found)) '([^']*)'",
        "the tensor {0} is missing: the file is broken or not a whole model",
    ),
    Reason(
        r"check_tensor_dims: tensor '([^']*)'", "the tensor {0} has not the size the header says: the file is broken"
    ),
    Reason(r"invalid magic characters", "the file is no GGUF file"),
    Reason(
        r"cudaMalloc failed: out of memory|CUDA error: out of memory|ErrorOutOfDeviceMemory",
        "the GPU's memory is full: lower context_tokens or slots, use a smaller model, or unload others",
    ),
    Reason(
        r"failed to allocate (?:buffer|CPU)|std::bad_alloc|failed to create context with model|not enough memory",
        "memory is full: lower context_tokens or slots, use a smaller model, or unload others",
    ),
    Reason(
        r"no CUDA-capable device|CUDA driver version is insufficient", "it finds no GPU it can use: see `nvidia-smi`"
    ),
    Reason(
        r"quantized V cache|V cache quantization requires flash_attn",
        "this model cannot keep its values so: set cache_type to f16",
    ),
    Reason(r"couldn't bind HTTP server socket", "its port was taken in the meantime"),
    Reason(r"failed to parse chat template|invalid chat template", "its chat template cannot be used"),
)
"""Of llama.cpp, the most telling first."""
VLLM = (
    Reason(
        r"torch\.(?:cuda\.)?OutOfMemoryError|CUDA out of memory",
        "the GPU's memory is full: lower context_tokens or slots, give it more GPUs, or unload others",
    ),
    Reason(
        r"Free memory on device \S* ?\(([\d.]+)/([\d.]+) GiB\) on startup is less than desired",
        "only {0} of {1} GiB are free on the GPU, less than it may take: unload others or lower gpu_share",
    ),
    Reason(
        r"(?:max seq len|maximum (?:model|sequence) length|max_model_len)[^\n]*?\(?(\d+)\)?[^\n]*?KV cache",
        "the cache has no room for one request of its context: lower context_tokens or give it a larger gpu_share",
    ),
    Reason(
        r"No available memory for the cache blocks|[Nn]ot enough (?:KV cache|memory)",
        "no memory is left for the cache once the weights are loaded: give it a larger gpu_share or more GPUs",
    ),
    Reason(
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len[^\n]*?(\d+)",
        "its context has {1} tokens, and {0} are asked for: lower context_tokens",
    ),
    Reason(
        r"Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
        "its {0} heads cannot be shared out to {1} GPUs: give it another number of GPUs",
    ),
    Reason(
        r"Model architectures \[([^\]]*)\] (?:are not supported|failed)",
        "this vLLM does not know the architecture {0}: a newer may",
    ),
    Reason(
        r"model type `?'?([\w.-]+)'?`? but Transformers does not recognize",
        "this vLLM does not know models of type {0}: use a newer one",
    ),
    Reason(
        r"trust_remote_code=True|contains custom code",
        "the model wants its own Python code to run; this box runs no code that comes with models",
    ),
    Reason(
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer",
        "its weights are broken: `appliance model verify` it",
    ),
    Reason(
        r"outgoing traffic has been disabled|Cannot find the requested files in the local cache|is not the path to a"
        r" directory containing",
        "a file of the model is missing, and nothing is fetched: import its whole folder",
    ),
    Reason(r"No module named '([\w.]+)'", "its environment lacks the Python package {0}"),
    Reason(
        r"Failed to infer device type|No CUDA GPUs are available|no NVIDIA GPU|driver version is insufficient",
        "it finds no GPU it can use: see `nvidia-smi`, or set engines.vllm_device to cpu",
    ),
    Reason(
        r"compute capability (?:of )?at least ([\d.]+)|Bfloat16 is only supported on GPUs",
        "the GPU is too old for the model's number format",
    ),
    Reason(r"NCCL error|ncclSystemError", "the GPUs cannot talk to one another (NCCL): see its log"),
    Reason(
        r"[Ff]ailed to connect to (?:the )?Ray|ray\.exceptions|Could not find any running Ray",
        "its Ray cluster cannot be reached: check engines.ray_address",
    ),
    Reason(r"[Aa]ddress already in use", "its port was taken in the meantime"),
    Reason(
        r"KeyError: 'invalid tool call parser: ([\w.-]+)",
        "this vLLM does not know tool calls of the kind {0}: use a newer one",
    ),
    Reason(r"adapter_config|LoRA rank (\d+) is greater", "an adapter does not fit the model: check its base and rank"),
)
"""Of vLLM, the most telling first."""


def explained(said: str, reasons: Sequence[Reason]) -> str:
    """What a log says about its end; "" when no line of it is known.

    >>> explained("llama_model_load: error: unknown model architecture: 'xyz'", LLAMACPP)
    'this llama.cpp does not know the architecture xyz: use a newer one'
    """
    for reason in reasons:
        if found := re.search(reason.line, said):
            return reason.means.format(*(group or "?" for group in found.groups()))
    return ""
