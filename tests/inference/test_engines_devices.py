"""GPUs as nvidia-smi tells of them, in answers recorded from real machines."""

from __future__ import annotations

import os

import pytest

from inference.engines.devices import COLUMNS, MIB, Gpu, gpus_in, private_bytes, read_gpus, read_room

H200 = "0, GPU-19705296-7ce6-15aa-f409-4ef9f6a0159a, NVIDIA H200, 143771, 0, 143156, 0\n"
"""Driver 580.159.04; some 600 MiB are the driver's own, neither used nor free."""


def test_a_gpu_is_read_from_its_line() -> None:
    (gpu,) = gpus_in(H200)
    assert gpu == Gpu(
        0, "GPU-19705296-7ce6-15aa-f409-4ef9f6a0159a", "NVIDIA H200", 143_771 * MIB, 143_156 * MIB, busy=0
    )


def test_several_gpus_and_a_name_with_a_comma() -> None:
    text = H200 + '1, GPU-b, "Tesla, V100", 16160, 3000, 13160, 97\n'
    assert [(gpu.index, gpu.name, gpu.busy) for gpu in gpus_in(text)] == [(0, "NVIDIA H200", 0), (1, "Tesla, V100", 97)]


def test_what_a_gpu_does_not_tell_is_taken_as_nothing() -> None:
    (gpu,) = gpus_in("0, GPU-a, GB10, 65536, 1, 65535, [N/A]")
    assert gpu.busy == 0
    assert gpus_in("0, GPU-a, GB10, [N/A], [N/A], [N/A], 5") == (), "a GPU whose memory is not known is not used"


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "No devices were found\n", 'Field "nonsense" is not a valid field to query.\n\n',
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "0, GPU-a\n",
    ],
)  # fmt: skip
def test_other_answers_mean_no_gpus(text: str) -> None:
    assert gpus_in(text) == ()


def test_this_machine_can_be_read_with_and_without_gpus() -> None:
    room = read_room()
    assert 0 < room.ram <= room.ram_total and room.gpus == read_gpus()
    assert len(COLUMNS) == 7


def test_a_process_has_memory_of_its_own_and_none_has_none() -> None:
    assert private_bytes(os.getpid()) > MIB
    assert private_bytes(None) == private_bytes(2**22 + 1) == 0
