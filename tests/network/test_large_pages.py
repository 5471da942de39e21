"""Copies of weights in large pages of memory."""

from __future__ import annotations

import mmap

import pytest
import torch

from models.network.large_pages import LARGE, in_large_pages


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no large pages to ask for")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_a_copy_is_what_it_was_copied_from_and_begins_a_page(dtype: torch.dtype) -> None:
    weight = torch.arange(3 * LARGE + 3 * 7).remainder(100).to(dtype).view(3, -1)
    copy = in_large_pages(weight)
    assert copy.data_ptr() % LARGE == 0
    assert (copy.dtype, copy.shape, copy.is_contiguous()) == (weight.dtype, weight.shape, True)
    assert copy.equal(weight)
    weight.zero_()
    assert copy.any()
    copy += 1


def test_what_is_small_stays_where_it_is() -> None:
    weight = torch.ones(LARGE // 4 - 1)
    assert in_large_pages(weight) is weight


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no large pages to ask for")
def test_a_kernel_without_large_pages_leaves_weights_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 1 << 20)  # no advice that a kernel knows
    weight = torch.ones(LARGE)
    assert in_large_pages(weight) is weight
