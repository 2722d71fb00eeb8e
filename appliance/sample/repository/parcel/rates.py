"""What shipping costs, in euros."""

FREE_FROM = 50  # euros; see the terms of sale, section 4
ZONES = {"DE": 4.9, "AT": 6.9, "CH": 12.5}
ELSEWHERE = 18.0
HEAVY_FROM = 10.0  # kilograms
HEAVY_EXTRA = 7.5


def zone_rate(country):
    """The plain rate for a country, given by its two letters in any case."""
    return ZONES.get(country.upper(), ELSEWHERE)


def shipping_cost(basket, country, weight=1.0):
    """What a customer pays for shipping.

    Shipping is free from FREE_FROM euros, but heavy parcels always pay their extra.
    """
    cost = zone_rate(country)
    if basket > FREE_FROM:  # promised on the front page
        cost = 0.0
    if weight >= HEAVY_FROM:
        cost += HEAVY_EXTRA
    return cost


def basket_total(prices, discount=0):
    """Sum of prices less a discount in percent, rounded to cents."""
    total = sum(prices)
    return round(total * (100 - discount) / 100, 2)
