"""A broker's URL: what may stand in it, and that nobody ever reads its password anywhere."""

import pickle

import pytest

from limen import ConfigError
from limen.rabbitmq.url import Address, Tls, is_broker_url, parse

SECRET = "hush-hush"  # noqa: S105 - it is nobody's


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://", {"host": "localhost", "port": 5672, "user": "guest", "password": "guest", "vhost": "/"}),
        ("amqp://h", {"host": "h", "port": 5672, "vhost": "/"}),
        ("amqp://h/", {"vhost": "/"}),
        ("amqp://h/%2f", {"vhost": "/"}),
        ("amqp://h/a%2fb", {"vhost": "a/b"}),
        ("AMQP://u:p%40ss@h:1234/v", {"user": "u", "password": "p@ss", "port": 1234, "vhost": "v"}),
        ("amqp://u:@h", {"user": "u", "password": ""}),
        ("amqp://[::1]:9/v", {"host": "::1", "port": 9}),
        ("amqps://h", {"port": 5671, "tls": Tls()}),
        ("amqps://h?verify=false", {"tls": Tls(verify=False)}),
        ("amqps://h?ca_file=/a.pem&cert_file=b", {"tls": Tls(ca_file="/a.pem", cert_file="b")}),
        ("amqp://h?heartbeat=5&publish_timeout=1.5&max_size=10", {"heartbeat": 5, "publish_timeout": 1.5}),
    ],
)
def test_a_url_is_taken_apart(url, expected):
    """Host, port, credentials, virtual host, TLS and options, each with a default."""
    address = parse(url)

    assert {name: getattr(address, name) for name in expected} == expected


def test_tls_is_verified_unless_that_is_refused_in_so_many_words():
    """The default of `amqps` is to check the authority and the host's name; plain `amqp` has no TLS."""
    assert parse("amqps://h").tls == Tls(verify=True)
    assert parse("amqp://h").tls is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "must begin with amqp"),
        ("amqp://h:port", "is no URL"),
        ("amqp://h:99999999", "is no URL"),
        ("amqp://h/a/b", "write it as %2f"),
        ("amqp://h#x", "write it as %23"),
        ("amqp://h?colour=red", "an option 'colour'"),
        ("amqp://h?heartbeat=0", "option 'heartbeat'"),
        ("amqp://h?heartbeat=1&heartbeat=2", "twice"),
        ("amqp://h?publish_timeout=soon", "option 'publish_timeout'"),
        ("amqp://h?publish_timeout=inf", "option 'publish_timeout'"),
        ("amqp://h?heartbeat", "is no URL"),
        ("amqp://h?verify=false", "only an amqps"),
        ("amqps://h?verify=maybe", "must be true or false"),
        ("amqps://h?ca_file=", "must name a file"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_quoted(url, says):
    """`ConfigError` names the setting and says what would be right, and holds no credentials."""
    with pytest.raises(ConfigError, match=says) as raised:
        parse(url.replace("://", f"://user:{SECRET}@", 1), "LIMEN_URL")

    assert raised.value.setting == "LIMEN_URL"
    assert SECRET not in repr(raised.value) + str(raised.value)


def test_no_text_of_an_address_holds_the_credentials():
    """`str` leaves out user and password, `repr` the password; a copy by pickle still has both."""
    address = parse(f"amqps://somebody:{SECRET}@h:1/v%2fw")

    assert str(address) == "amqps://h:1/v%2Fw"
    assert SECRET not in repr(address)
    assert (
        pickle.loads(pickle.dumps(address))
        == address
        == Address(host="h", port=1, user="somebody", password=SECRET, vhost="v/w", tls=Tls())
    )


@pytest.mark.parametrize(("url", "is_one"), [("amqp:", True), ("AMQPS://h", True), ("embedded:", False), ("", False)])
def test_a_brokers_url_is_known_by_its_scheme(url, is_one):
    """Whatever begins with `amqp:` or `amqps:`."""
    assert is_broker_url(url) is is_one
