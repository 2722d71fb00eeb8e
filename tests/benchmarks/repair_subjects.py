"""Real functions that the repair benchmark breaks: where their source lies, how they are called, and first arguments.

Every entry is (source, call, first arguments). The source is a module or package of the standard library or of an
installed distribution; it is copied under another name, so that nothing else sees the broken copy. The call is an
expression over the module's names and `a`, the arguments.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Subject(NamedTuple):
    """One call of one module."""

    module: str
    call: str
    seeds: tuple[tuple[Any, ...], ...]


TEXT = "The quick brown fox jumps over the lazy dog, and then it sleeps for a long-lasting while."
LINES = "  one\n    two\n  three\n\n    four five six\n"

SUBJECTS: tuple[Subject, ...] = tuple(
    Subject(module, call, tuple(tuple(seed) for seed in seeds))
    for module, call, seeds in [
        ("textwrap", "wrap(a[0], a[1])", [(TEXT, 20), (LINES, 10), ("aaa bbbbbbbbbbbb cc", 5), ("", 4)]),
        (
            "textwrap",
            "fill(a[0], a[1], initial_indent=a[2], subsequent_indent='  ')",
            [(TEXT, 30, "* "), (LINES, 12, "")],
        ),
        ("textwrap", "dedent(a[0])", [(LINES,), ("\t\tx\n\t y\n",), ("  a\n   \n  b",)]),
        ("textwrap", "indent(a[0], a[1])", [(LINES, "> "), ("a\n\nb", "  ")]),
        ("textwrap", "shorten(a[0], a[1], placeholder=a[2])", [(TEXT, 25, "..."), ("a b  c", 6, " [...]")]),
        ("statistics", "median(a[0])", [([3, 1, 2],), ([4, 1, 2, 9],)]),
        ("statistics", "median_grouped(a[0], a[1])", [([1, 2, 2, 3, 4, 4, 4, 4, 4, 5], 1), ([52, 52, 53, 54], 2)]),
        ("statistics", "multimode(a[0])", [("aabbbbccddddeeffffgg",), ([1, 1, 2, 3, 3],)]),
        (
            "statistics",
            "quantiles(a[0], n=a[1], method=a[2])",
            [([1, 2, 4, 8, 9, 12], 4, "exclusive"), ([5, 3, 9, 1], 3, "inclusive")],
        ),
        ("statistics", "pvariance(a[0])", [([0, 2, 4, 7, 1],), ([1.5, 2.5, 2.5, 2.75],)]),
        ("statistics", "harmonic_mean(a[0])", [([40, 60],), ([2.5, 3, 10],)]),
        ("statistics", "correlation(a[0], a[1])", [([1, 2, 3, 5], [2, 4, 5, 11]), ([1.0, 5.0, 2.0], [3.0, 1.0, 2.5])]),
        ("bisect", "bisect_left(a[0], a[1])", [([1, 3, 3, 5, 9], 3), ([], 1), ([2, 4, 6], 7)]),
        ("bisect", "bisect_right(a[0], a[1], a[2])", [([1, 3, 3, 5, 9], 3, 1), ([2, 4, 6], 7, 0)]),
        ("heapq", "nlargest(a[0], a[1])", [(3, [4, 1, 8, 2, 9, 7]), (1, [2, 2])]),
        ("heapq", "nsmallest(a[0], a[1])", [(3, [4, 1, 8, 2, 9, 7]), (2, [5, 5, 1])]),
        ("heapq", "list(merge(a[0], a[1], reverse=False))", [([1, 4, 7], [2, 3, 9]), ([], [1, 1])]),
        (
            "heapq",
            "(lambda h: (heapify(h), [heappop(h) for _ in range(len(h))])[1])(list(a[0]))",
            [([5, 3, 8, 1, 9, 2],), ([2, 2, 1],)],
        ),
        (
            "colorsys",
            "[round(x, 6) for x in rgb_to_hsv(a[0], a[1], a[2])]",
            [(0.2, 0.4, 0.4), (1.0, 0.5, 0.25), (0.3, 0.3, 0.3)],
        ),
        (
            "colorsys",
            "[round(x, 6) for x in hls_to_rgb(a[0], a[1], a[2])]",
            [(0.5, 0.3, 0.5), (0.9, 0.7, 0.2), (0.1, 0.5, 0.0)],
        ),
        (
            "colorsys",
            "[round(x, 6) for x in hsv_to_rgb(a[0], a[1], a[2])]",
            [(0.5, 0.3, 0.5), (0.9, 0.7, 0.2), (0.1, 0.5, 0.0)],
        ),
        ("fnmatch", "translate(a[0])", [("*.txt",), ("a[!b-d]?x*",), ("[z-a]",), ("a*b*c",)]),
        ("fnmatch", "filter(a[0], a[1])", [(["a.py", "b.txt", "c.py"], "*.py"), (["ab", "cd"], "[a-b]?")]),
        ("posixpath", "normpath(a[0])", [("a//b/../c/./d",), ("//x/..",), ("../../a",), ("",)]),
        ("posixpath", "join(a[0], a[1], a[2])", [("a", "b/", "c"), ("/x", "/y", "z"), ("a/", "", "b")]),
        ("posixpath", "split(a[0])", [("/a/b/c.txt",), ("abc",), ("/",), ("a//b",)]),
        ("posixpath", "relpath(a[0], a[1])", [("/a/b/c", "/a/d"), ("/x", "/x"), ("/a/b", "/a/b/c/d")]),
        ("posixpath", "commonpath(a[0])", [(["/a/b/c", "/a/b/d", "/a/b"],), (["x/y", "x/z/q"],)]),
        ("ntpath", "splitdrive(a[0])", [("c:\\a\\b",), ("\\\\host\\share\\x",), ("abc",)]),
        ("ntpath", "join(a[0], a[1])", [("c:\\a", "b"), ("c:", "d:\\x"), ("\\x", "y\\")]),
        (
            "difflib",
            "get_close_matches(a[0], a[1], a[2])",
            [("appel", ["ape", "apple", "peach", "puppy"], 3), ("ab", ["abc", "b"], 1)],
        ),
        (
            "difflib",
            "list(unified_diff(a[0], a[1], lineterm='', n=a[2]))",
            [(["a", "b", "c", "d", "e"], ["a", "x", "c", "d"], 1), (["q"], [], 3)],
        ),
        (
            "difflib",
            "list(ndiff(a[0], a[1]))",
            [(["one", "two", "three"], ["ore", "tree", "three"]), (["ab"], ["ba", "x"])],
        ),
        ("difflib", "SequenceMatcher(None, a[0], a[1]).get_opcodes()", [("qabxcd", "abycdf"), ("private", "pirate")]),
        ("shlex", "split(a[0])", [("a 'b c' d\\ e",), ('x "y \\"z\\" w" # no',), ("a|b>c",)]),
        ("shlex", "list(shlex(a[0], posix=True, punctuation_chars=True))", [("a && b || c; d >'abc'",), ("~/x a=b",)]),
        ("calendar", "monthrange(a[0], a[1])", [(2024, 2), (1999, 12), (1900, 2)]),
        ("calendar", "month(a[0], a[1], w=a[2])", [(2024, 2, 0), (2023, 10, 4)]),
        ("calendar", "leapdays(a[0], a[1])", [(1900, 2024), (1995, 2001)]),
        ("calendar", "Calendar(a[2]).monthdayscalendar(a[0], a[1])", [(2024, 2, 0), (2021, 8, 6)]),
        ("html", "escape(a[0], quote=a[1])", [("a<b & 'c' \"d\">", True), ("x&y", False)]),
        ("html", "unescape(a[0])", [("&lt;a&gt; &amp;amp; &#65; &#x42; &notit; &#0;",), ("&euro &copy;",)]),
        ("urllib.parse", "tuple(urlsplit(a[0]))", [("http://u:p@host:80/a/b;c?q=1#f",), ("//h/p?x",), ("mailto:a@b",)]),
        (
            "urllib.parse",
            "urljoin(a[0], a[1])",
            [("http://a/b/c/d", "../e"), ("http://a/b?q", "#x"), ("http://a", "//c/d")],
        ),
        ("urllib.parse", "parse_qsl(a[0], keep_blank_values=a[1])", [("a=1&b=2&a=%20x+y", False), ("k=&z", True)]),
        ("urllib.parse", "quote(a[0], safe=a[1])", [("a b/c?d=é", "/"), ("~x[y]", "")]),
        ("urllib.parse", "unquote(a[0])", [("a%20b%C3%A9%zz",), ("%41%42",)]),
        ("urllib.parse", "urlencode(a[0], doseq=a[1])", [({"a": 1, "b": "x y"}, False), ({"k": [1, 2]}, True)]),
        ("string", "capwords(a[0], a[1])", [("hello big  world", None), ("a-bc-d", "-")]),
        ("base64", "b85encode(a[0])", [(b"hello world",), (b"\x00\x01\x02",), (b"",)]),
        ("base64", "a85decode(a[0])", [(b'87cURD]i,"Ebo80',), (b"z!!!!!",)]),
        ("base64", "b32decode(a[0])", [(b"NBSWY3DP",), (b"MFRGG===",)]),
        ("quopri", "encodestring(a[0])", [(b"a=b\xe9 \nfoo \n",), (b"x" * 80,)]),
        (
            "ipaddress",
            "[str(n) for n in summarize_address_range(ip_address(a[0]), ip_address(a[1]))]",
            [("192.0.2.0", "192.0.2.130"), ("10.0.0.5", "10.0.0.9")],
        ),
        (
            "ipaddress",
            "[str(n) for n in collapse_addresses(map(ip_network, a[0]))]",
            [(["192.0.2.0/25", "192.0.2.128/25"],), (["10.0.0.0/30", "10.0.0.4/31"],)],
        ),
        (
            "ipaddress",
            "str(IPv6Address(a[0]))",
            [("2001:db8:0:0:1:0:0:1",), ("::1",), ("1:2:3:4:5:6:7:8",), ("::ffff:1.2.3.4",)],
        ),
        (
            "ipaddress",
            "str(ip_network(a[0], strict=False).broadcast_address)",
            [("192.0.2.77/27",), ("10.1.2.3/255.255.0.0",)],
        ),
        ("email.quoprimime", "body_encode(a[0], a[1])", [("a=b é\nlong line here that goes on", 20), ("x \n\ty", 76)]),
        ("email._parseaddr", "parsedate_tz(a[0])", [("Mon, 20 Nov 1995 19:12:08 -0500",), ("1 Jan 99 1:2 GMT",)]),
        (
            "json.encoder",
            "JSONEncoder(indent=a[1], sort_keys=True).encode(a[0])",
            [({"a": [1, 2.5, None], "b": {"c": "x\n"}}, 2), ([[], {}, True], 1)],
        ),
        ("json.decoder", "py_scanstring(a[0], a[1])", [('"ab\\n\\u00e9" rest', 1), ('xx"a\\ud834\\udd20"', 3)]),
        (
            "pprint",
            "pformat(a[0], width=a[1])",
            [({"k": [1, 2, 3], "long": ["x" * 10] * 3}, 20), ([("a", 1), "b" * 30], 15)],
        ),
        ("reprlib", "repr(a[0])", [(["a" * 50, 1, 2, 3, 4, 5, 6, 7, 8],), ({"x": 1, "y": {"z": {}}},)]),
        (
            "graphlib",
            "list(TopologicalSorter(a[0]).static_order())",
            [({"d": ["b", "c"], "b": ["a"], "c": ["a"]},), ({"x": []},)],
        ),
        ("encodings.punycode", "punycode_encode(a[0])", [("bücher",), ("ü",), ("abc",), ("他们为什么",)]),
        ("encodings.punycode", "punycode_decode(a[0], 'strict')", [("bcher-kva",), ("tda",), ("abc-",)]),
        ("gettext", "[c2py(a[0])(n) for n in range(12)]", [("n != 1",), ("n%10==1 && n%100!=11 ? 0 : 1",), ("n>1",)]),
        (
            "csv",
            "Sniffer().sniff(a[0]).delimiter",
            [("a,b,c\n1,2,3\n4,5,6\n",), ("a;b\n1;2\n3;4\n",), ("'x'|'y'\n'z'|'w'\n",)],
        ),
        ("fractions", "str(Fraction(a[0]) + Fraction(a[1]))", [("3/7", 2), ("-1.25", "1/3")]),
        ("fractions", "str(Fraction(a[0]).limit_denominator(a[1]))", [("3.1415926535", 1000), ("0.3333", 10)]),
        ("fractions", "str(round(Fraction(a[0]), a[1]))", [("22/7", 2), ("-5/2", 0)]),
        ("packaging.version", "str(Version(a[0]))", [("1.0rc1.post2+local.1",), ("2!3.4.dev5",), ("v1.2-3",)]),
        (
            "packaging.version",
            "Version(a[0]) < Version(a[1])",
            [("1.0", "1.0.post1"), ("1.0a1", "1.0.dev1"), ("1.0.0", "1")],
        ),
        (
            "packaging.specifiers",
            "a[1] in SpecifierSet(a[0])",
            [(">=1.0,<2", "1.5"), ("~=2.2.1", "2.3"), ("==1.*", "1.9")],
        ),
        ("packaging.utils", "canonicalize_name(a[0])", [("Foo.Bar__baz",), ("a-_b",)]),
        ("idna.core", "encode(a[0])", [("bücher.example",), ("xn--abc.de",), ("日本語.jp",)]),
        ("idna.core", "decode(a[0])", [("xn--bcher-kva.example",), ("abc.de.",)]),
        (
            "click.formatting",
            "wrap_text(a[0], a[1], initial_indent=a[2], preserve_paragraphs=True)",
            [(TEXT + "\n\n\b\n" + LINES, 30, " "), ("a b", 3, "")],
        ),
        (
            "sortedcontainers.sortedlist",
            "list(SortedList(a[0]).irange(a[1], a[2]))",
            [([5, 1, 3, 9, 7], 2, 7), ([1, 1, 2], 1, 1)],
        ),
        (
            "sortedcontainers.sortedlist",
            "(lambda s: (s.discard(a[1]), s.add(a[2]), list(s), s.bisect_left(a[1])))(SortedList(a[0]))",
            [([5, 1, 3, 9], 3, 4), ([2, 2], 2, 0)],
        ),
        (
            "urllib3.util.url",
            "parse_url(a[0]).url",
            [("http://Host.com:80/a/../b?q#f",), ("google.com/p q",), ("http://[::1]/x",)],
        ),
        (
            "werkzeug.http",
            "parse_options_header(a[0])",
            [("form-data; name=\"a b\"; filename*=UTF-8''x%20y",), ("text/html; charset=utf-8",)],
        ),
        ("werkzeug.http", "parse_dict_header(a[0])", [('foo="is a fish", bar="as well", baz',), ("a=b, c*=UTF-8''d",)]),
        (
            "jinja2.utils",
            "str(urlize(a[0], a[1]))",
            [("see http://a.example/x, or (www.b.org)", None), ("mail a@b.co now <b>", 10)],
        ),
        (
            "markdown_it.main",
            "MarkdownIt().render(a[0])",
            [("# A\n\n* x\n* y\n\n1. *e* **s** `c`\n",), ("> q\n\n```py\nx\n```\n[a](b 'c')\n",)],
        ),
    ]
)
"""Written for breadth of code, not for ease of repair."""
