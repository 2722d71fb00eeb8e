import pytest

from parcel.rates import basket_total, shipping_cost, zone_rate


@pytest.mark.parametrize(("country", "rate"), [("DE", 4.9), ("at", 6.9), ("CH", 12.5), ("FR", 18.0)])
def test_zone_rate(country, rate):
    assert zone_rate(country) == rate


def test_small_baskets_pay():
    assert shipping_cost(20, "DE") == 4.9
    assert shipping_cost(49.99, "AT") == 6.9


def test_free_from_fifty_euros():
    assert shipping_cost(50, "DE") == 0.0


def test_large_baskets_are_free():
    assert shipping_cost(120, "CH") == 0.0


def test_heavy_parcels_pay_extra_even_when_free():
    assert shipping_cost(120, "DE", weight=10.0) == 7.5
    assert shipping_cost(20, "DE", weight=25.0) == pytest.approx(12.4)


def test_basket_total_takes_the_discount_off():
    assert basket_total([10, 20.5], discount=10) == 27.45
    assert basket_total([]) == 0
