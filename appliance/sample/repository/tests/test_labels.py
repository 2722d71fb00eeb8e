from parcel.labels import address_lines, slug, tracking_number


def test_slug():
    assert slug("Green  Tea") == "green-tea"


def test_address_lines_leave_out_what_is_empty():
    assert address_lines("Ada", "", "London") == ["Ada", "London"]


def test_address_lines_are_cut():
    assert address_lines("x" * 40, "", "")[0] == "x" * 32


def test_tracking_number_has_a_check_digit():
    assert tracking_number(42, 1) == "000042013"
