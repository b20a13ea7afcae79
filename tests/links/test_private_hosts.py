"""Hosts of this machine, of private networks and of nobody: each kind in each notation, whatever Python says of it."""

import pytest

from services.links.links.targets import TargetRefused, TargetRules

RULES = TargetRules(own_domains=["sho.rt"], allow_private=False)

PRIVATE = {
    "this network": ["0.0.0.0", "0.1.2.3", "0"],  # noqa: S104  # nothing is bound
    "private use": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
    "carriers": ["100.64.0.1", "100.127.255.255", "100.100.100.200"],
    "loopback": ["127.0.0.1", "127.255.255.254", "0x7f.1", "2130706433", "0177.1", "127.1", "127.0.0.1."],
    "link-local": ["169.254.169.254", "169.254.170.2"],
    "protocols": ["192.0.0.1", "192.0.0.170", "192.0.0.192", "192.88.99.1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "[2001:db8::1]", "[3fff::1]", "[3fff:fff::1]"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "[2001:2::1]"],
    "multicast": ["224.0.0.1", "239.255.255.250", "[ff02::1]", "[ff0e::1]"],
    "reserved": ["240.0.0.1", "255.255.255.255", "[4000::1]", "[8000::1]", "[e000::1]"],
    "Azure's host": ["168.63.129.16"],
    "IPv6 itself": ["[::]", "[::1]", "[0:0:0:0:0:0:0:1]"],
    "IPv6 local": [
        "[fe80::1]",
        "[febf::1]",
        "[fec0::1]",
        "[feff::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
    ],
    "IPv6 discarded": ["[100::1]", "[100:0:0:1::1]"],
    "IPv6 protocols": ["[2001:10::1]", "[2001:1ff::1]", "[5f00::1]"],
    "compatible": ["[::127.0.0.1]", "[::10.0.0.1]", "[::8.8.8.8]", "[::7f00:1]"],
    "mapped": ["[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[::ffff:169.254.169.254]", "[::ffff:192.0.0.9]"],
    "translated": ["[::ffff:0:127.0.0.1]", "[::ffff:0:a00:1]", "[::ffff:0:8.8.8.8]"],
    "NAT64": ["[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::169.254.169.254]"],
    "local NAT64": ["[64:ff9b:1::7f00:1]", "[64:ff9b:1::8.8.8.8]", "[64:ff9b:1:ffff::1]"],
    "6to4": ["[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:c0a8:101::1]", "[2002:a9fe:a9fe::1]"],
    # The client's address is written inverted: 5601:5601 is 169.254.169.254, f5ff:fffe is 10.0.0.1.
    "Teredo": ["[2001:0:808:808::5601:5601]", "[2001:0:808:808::f5ff:fffe]", "[2001:0:a00:1::f7f7:f7f7]"],
    "localhost": ["localhost", "LOCALHOST.", "a.localhost", "localhost.localdomain", "host.localdomain"],
    "names of networks": [
        "printer.local",
        "nas.home",
        "a.b.corp",
        "relay.mail",
        "router.lan",
        "wiki.intranet",
        "x.private",
    ],
    "internal": ["metadata.google.internal", "host.docker.internal", "instance-data.ec2.internal", "nas.home.arpa"],
    "special use": ["a.test", "a.invalid", "a.alt", "a.onion", "1.0.0.127.in-addr.arpa", "ipv4only.arpa"],
    "metadata": ["metadata.goog", "metadata.tencentyun.com", "METADATA.Google.Internal."],
    "one label": ["wiki", "com", "home", "bücher", "intranet."],
    "other letters": ["ｌｏｃａｌｈｏｓｔ", "printer。local", "１２７.0.0.1", "[::ⓕⓕⓕⓕ:127.0.0.1]"],
}

PUBLIC = [
    *("example.com", "example.org", "www.example.net", "home.example.com", "localhost.example.com", "mail.google.com"),
    *("corporate.com", "notlocalhost.com", "my-home.net", "testing.dev", "test.com", "example.com.", "bücher.de"),
    "shop.example",
    *(
        "8.8.8.8",
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "126.255.255.255",
        "128.0.0.1",
    ),
    *("169.253.1.1", "172.15.255.255", "172.32.0.1", "192.0.1.1", "192.167.1.1", "192.31.196.1", "198.17.255.255"),
    *("198.20.0.1", "203.0.112.1", "223.255.255.255", "168.63.129.15"),
    *("[2606:4700::1111]", "[2001:4860:4860::8888]", "[2001:200::1]", "[2a00:1450::1]", "[3ffe::1]"),
    *("[::ffff:8.8.8.8]", "[64:ff9b::8.8.8.8]", "[2002:808:808::1]", "[2001:0:808:808::f7f7:f7f7]"),
]


@pytest.mark.parametrize("host", [host for hosts in PRIVATE.values() for host in hosts])
@pytest.mark.parametrize("port", ["", ":8080"])
def test_private_host_is_refused(host: str, port: str) -> None:
    """No notation, tunnel, translator or name leads into a private network."""
    with pytest.raises(TargetRefused):
        RULES.parse(f"http://{host}{port}/latest/meta-data")


@pytest.mark.parametrize("host", PUBLIC)
def test_public_host_is_taken(host: str) -> None:
    """What only looks like a private host, or lies just beside one, can be linked to."""
    assert RULES.parse(f"http://{host}/x").startswith("http://")


@pytest.mark.parametrize("host", ["10.0.0.1", "[::1]", "[fec0::1]", "localhost.localdomain", "nas.home", "wiki"])
def test_private_host_can_be_allowed(host: str) -> None:
    """An installation inside a company may lead to its own."""
    rules = TargetRules(own_domains=["sho.rt"], allow_private=True)

    assert rules.parse(f"http://{host}/") == f"http://{host}/"
