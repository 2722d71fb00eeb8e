"""The text on a parcel."""


def slug(name):
    """A name for file systems: lower case, words joined by hyphens."""
    return "-".join(name.lower().split())


def address_lines(name, street, city, width=32):
    """The lines of a label, each cut to the label's width."""
    return [line[:width] for line in (name, street, city) if line]


def tracking_number(order, parcel):
    """Order and parcel number with a check digit."""
    digits = f"{order:06d}{parcel:02d}"
    check = sum((place % 2 * 2 + 1) * int(digit) for place, digit in enumerate(digits)) % 10
    return f"{digits}{check}"
