from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.decoding.sampling import noise, sample

ALMOST_ONE = 1 - 2**-53
whole_numbers = st.integers(0, 2**32 - 1)


def drawn(logits: Tensor, uniform: list[float], temperature: float = 1.0, top_k: int = 1000) -> list[int]:
    """One id for each number, from the same logits, (vocabulary,)."""
    rows = len(uniform)
    ids: list[int] = sample(
        logits.expand(rows, -1), torch.full((rows,), temperature), torch.full((rows,), top_k),
        torch.tensor(uniform, dtype=torch.float64)).tolist()
    return ids


@pytest.mark.parametrize(("where", "value"), [
    ((0, 0, 0), 0.138709410146), ((1, 1, 0), 0.341631310667), ((1, 1, 1), 0.439784939364), ((1, 2, 0), 0.900610908893),
    ((2**32 - 1, 16, 2047), 0.098775642671),
])
def test_noise_stays_what_it_was_so_that_a_seed_gives_the_same_piece_in_later_versions(
    where: tuple[int, int, int], value: float,
) -> None:
    assert noise(*where) == pytest.approx(value, abs=1e-10)


@given(whole_numbers, st.integers(1, 16), st.integers(0, 4096))
def test_noise_lies_in_its_range(seed: int, take: int, place: int) -> None:
    assert 0 <= noise(seed, take, place) < 1


def test_noise_is_another_one_for_each_seed_take_and_place_and_for_exchanged_ones() -> None:
    values = {noise(seed, take, place) for seed in range(20) for take in range(20) for place in range(20)}
    assert len(values) == 8000


@pytest.mark.parametrize("along", [0, 1, 2])
def test_noise_is_uniform_and_neighbours_know_nothing_of_each_other(along: int) -> None:
    def at(i: int) -> float:
        where = [7, 1, 3]
        where[along] = i
        return noise(*where)

    values = [at(i) for i in range(20_000)]
    bins = [0] * 50
    for value in values:
        bins[int(50 * value)] += 1
    chi_square = sum((count - 400) ** 2 / 400 for count in bins)
    assert chi_square < 95  # 49 degrees of freedom: one in ten thousand is above
    assert abs(statistics.correlation(values[:-1], values[1:])) < 0.03


def test_the_share_of_each_id_is_its_softmax() -> None:
    logits = torch.tensor([2.0, 0.0, -torch.inf, 1.0, -1.0])
    for temperature in (0.5, 1.0, 1.5):
        ids = drawn(logits, [(i + 0.5) / 4000 for i in range(4000)], temperature)
        shares = [ids.count(i) / 4000 for i in range(5)]
        assert shares == pytest.approx((logits / temperature).softmax(0).tolist(), abs=1e-3)


def test_draws_with_the_noise_follow_the_softmax() -> None:
    logits = torch.linspace(-1, 1, 8)
    ids = drawn(logits, [noise(11, 1, place) for place in range(20_000)])
    wanted = logits.softmax(0).tolist()
    chi_square = sum((ids.count(i) - 20_000 * p) ** 2 / (20_000 * p) for i, p in enumerate(wanted))
    assert chi_square < 30  # 7 degrees of freedom: one in ten thousand is above


@pytest.mark.parametrize("top_k", [1, 2, 5, 9, 100])
def test_only_the_largest_k_are_drawn_and_all_of_them_can_be(top_k: int) -> None:
    logits = torch.randn(30, generator=torch.Generator().manual_seed(1))
    seen = set(drawn(logits, [i / 5000 for i in range(5000)], 2.0, top_k))
    assert seen == set(logits.topk(min(top_k, 30)).indices.tolist())


def test_a_low_temperature_takes_the_best_and_a_high_one_takes_all_alike() -> None:
    logits = torch.tensor([0.0, 0.5, 0.4, -3.0])
    assert set(drawn(logits, [(i + 0.5) / 100 for i in range(100)], 0.001)) == {1}
    hot = drawn(logits, [i / 1000 for i in range(1000)], 1e6)
    assert all(abs(hot.count(i) - 250) < 5 for i in range(4))


@given(
    st.lists(st.one_of(st.floats(-30, 30, width=32), st.just(-math.inf)), min_size=2, max_size=40).filter(
        lambda values: max(values) > -math.inf),
    st.one_of(st.sampled_from([0.0, 2**-53, 0.5, ALMOST_ONE]), st.floats(0, 1, exclude_max=True)),
    st.sampled_from([0.1, 0.9, 1.5]), st.integers(1, 50),
)
def test_an_id_that_is_not_allowed_is_never_drawn(
    values: list[float], uniform: float, temperature: float, top_k: int,
) -> None:
    logits = torch.tensor(values)
    [one] = drawn(logits, [uniform], temperature, top_k)
    assert values[one] > -math.inf
    assert values[one] >= sorted(values, reverse=True)[:top_k][-1]


def test_an_id_whose_share_is_too_small_for_a_number_is_not_drawn_at_the_edges() -> None:
    logits = torch.tensor([-2000.0, 3.0, -torch.inf, 3.0, -2000.0])
    assert set(drawn(logits, [0.0, 0.25, 0.75, ALMOST_ONE])) == {1, 3}


def test_a_row_does_not_depend_on_what_other_rows_ask_for() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = 40
    logits = 3 * torch.randn(rows, 200, generator=generator)
    logits[:, ::3] = -torch.inf
    temperature = 0.1 + torch.rand(rows, generator=generator)
    top_k = torch.randint(1, 250, (rows,), generator=generator)
    uniform = torch.rand(rows, generator=generator, dtype=torch.float64)
    together = sample(logits, temperature, top_k, uniform)
    for row in range(rows):
        one = slice(row, row + 1)
        assert sample(logits[one], temperature[one], top_k[one], uniform[one]).item() == together[row]


def test_equal_logits_are_drawn_alike_whatever_k_the_other_rows_have() -> None:
    logits = torch.zeros(2, 500)
    logits[:, 100:400] = 1.0
    uniform = torch.tensor([0.3, 0.3], dtype=torch.float64)
    alone = sample(logits[:1], torch.ones(1), torch.tensor([5]), uniform[:1])
    among = sample(logits, torch.ones(2), torch.tensor([5, 283]), uniform)
    assert among[0] == alone[0]


def nucleus(logits: Tensor, top_p: float, temperature: float = 1.0, top_k: int = 1000) -> set[int]:
    """All ids that come up for a fine comb of draws."""
    uniform = torch.arange(0, 1, 1 / 512, dtype=torch.float64)
    rows = len(uniform)
    return set(sample(
        logits.expand(rows, -1), torch.full((rows,), temperature), torch.full((rows,), top_k), uniform,
        torch.full((rows,), top_p)).tolist())


def test_top_p_keeps_as_few_of_the_likeliest_as_have_that_share() -> None:
    logits = torch.tensor([0.05, 0.4, 0.25, 0.3]).log()
    assert nucleus(logits, 0.01) == {1}
    assert nucleus(logits, 0.39) == {1}
    assert nucleus(logits, 0.41) == {1, 3}
    assert nucleus(logits, 0.71) == {1, 2, 3}
    assert nucleus(logits, 1.0) == {0, 1, 2, 3}


def test_top_p_looks_at_the_shares_behind_the_temperature() -> None:
    logits = torch.tensor([0.05, 0.4, 0.25, 0.3]).log()
    assert nucleus(logits, 0.6, temperature=0.2) == {1}
    assert nucleus(logits, 0.6, temperature=5.0) == {1, 2, 3}


def test_top_p_replaces_top_k_where_it_is_above_zero() -> None:
    logits = torch.tensor([0.05, 0.4, 0.25, 0.3]).log()
    assert nucleus(logits, 0.9, top_k=1) == {1, 2, 3}
    assert nucleus(logits, 0.0, top_k=2) == {1, 3}


def test_rows_of_mixed_settings_are_drawn_as_each_alone() -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(4))
    temperature = torch.tensor([1.0, 0.0, 0.7, 1.3, 0.0, 1.0])
    top_k = torch.tensor([3, 50, 50, 10, 7, 50])
    top_p = torch.tensor([0.0, 0.0, 0.5, 0.9, 0.9, 0.0])
    uniform = torch.tensor([0.1, 0.9, 0.4, 0.99, 0.7, 0.5], dtype=torch.float64)
    together = sample(logits, temperature, top_k, uniform, top_p)
    for row in range(6):
        part = slice(row, row + 1)
        alone = sample(logits[part], temperature[part], top_k[part], uniform[part], top_p[part])
        assert alone.equal(together[part])
    without = sample(logits[[0, 1, 5]], temperature[[0, 1, 5]], top_k[[0, 1, 5]], uniform[[0, 1, 5]])
    assert without.equal(together[[0, 1, 5]])


def test_temperature_zero_takes_the_first_of_the_likeliest() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, 3.0])
    assert drawn(logits, [0.0, 0.5, ALMOST_ONE], temperature=0.0) == [1, 1, 1]
