import pytest

from companion_server.settings import ENV_PREFIX, Settings
from headtail.errors import UnknownName, UsageFault


def test_defaults_bind_loopback_only():
    settings = Settings.of()
    assert (settings.host, settings.port, settings.threads) == ("127.0.0.1", 8707, 1)


def test_environment_values_are_typed_and_foreign_variables_ignored():
    settings = Settings.from_env(
        {f"{ENV_PREFIX}PORT": "9000", "PATH": "/bin", "HEADTAIL_CACHE": "x"}
    )
    assert settings.port == 9000


def test_a_misspelt_variable_is_refused_with_a_suggestion():
    with pytest.raises(UnknownName, match="Did you mean 'max_body_bytes'"):
        Settings.from_env({f"{ENV_PREFIX}MAX_BODY_BYTE": "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65536),
        ("port", -1),
        ("threads", 0),
        ("max_body_bytes", 0),
        ("port", "x"),
        ("host", ""),
        ("host", "local\0host"),
        ("state_dir", ""),
        ("drain_s", "inf"),
        ("max_wait_s", "nan"),
        ("max_connections", "99999999999"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_value(name, value):
    with pytest.raises(UsageFault) as caught:
        Settings.of(**{name: value})
    assert f"Server setting {name} is {value!r}." in str(caught.value)
    assert caught.value.exit_code == 2


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(Exception, match="frozen"):
        Settings.of().port = 1


def test_values_given_win_over_the_environment():
    settings = Settings.from_env({f"{ENV_PREFIX}PORT": "9000", f"{ENV_PREFIX}THREADS": "2"}, port=1)
    assert (settings.port, settings.threads) == (1, 2)


def test_a_list_stands_in_the_environment_with_commas():
    first, second = "ab" * 32, "cd" * 32
    for text in (f"{first},{second}", f"{first}, {second}", f"{first} {second},"):
        settings = Settings.from_env({f"{ENV_PREFIX}TRUSTED_KEYS": text})
        assert settings.trusted_keys == (first, second)


def test_a_setting_without_a_fixed_default_says_what_it_would_be():
    with pytest.raises(UsageFault, match=f"leave it out for '{Settings.of().state_dir}'"):
        Settings.of(state_dir=3)
