import pytest

from app.settings import SETTINGS, Settings, SettingsError, read_settings


def test_nothing_said_is_the_defaults():
    settings = read_settings(environ={"XDG_CACHE_HOME": "/c"})
    assert settings == Settings(cache="/c/continuo")


def test_a_runtime_folder_is_used_where_there_is_one(tmp_path):
    assert read_settings(environ={"XDG_RUNTIME_DIR": str(tmp_path)}).runtime == str(tmp_path)
    assert read_settings(environ={"XDG_RUNTIME_DIR": str(tmp_path / "gone")}).runtime is None


def test_the_environment_is_read_and_the_command_line_goes_over_it():
    environ = {"CONTINUO_PORT": "9000", "CONTINUO_WORKERS": "3", "CONTINUO_HOSTS": "a, b"}
    settings = read_settings({"port": 0}, environ)
    assert (settings.port, settings.workers, settings.hosts) == (0, 3, ("a", "b"))


@pytest.mark.parametrize(
    "variable, value",
    [
        ("PORT", "99999"),
        ("PORT", "tcp://10.0.0.1:80"),
        ("WORKERS", "0"),
        ("PRECISION", "int4"),
        ("LOG", ""),
        ("PING", "nan"),
        ("LOG_PROMPTS", "perhaps"),
        ("LIMIT_PER_KEY", "often"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(variable, value):
    with pytest.raises(SettingsError, match=f"CONTINUO_{variable} (must be|is) "):
        read_settings(environ={f"CONTINUO_{variable}": value})


def test_a_bad_option_is_named_as_it_was_given():
    with pytest.raises(SettingsError, match="--max-queue must be a whole number; got 'x'"):
        read_settings({"max_queue": "x"}, {})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("port", "99999", "a whole number, at most 65535"),
        ("threads", "many", "a whole number"),
        ("max_wait", "0", "a number, above 0"),
        ("public", "maybe", "true or false"),
        ("engine", "foo", "process or ray"),
        ("limit_per_key", "lots", "a rate such as 60/minute"),
    ],
)
def test_a_bad_value_is_answered_with_what_may_stand_there(name, value, expected):
    """It said "Expected int | null, got str" and "Invalid enum value"."""
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(SettingsError) as error:
        read_settings({name: value}, {})
    assert str(error.value).startswith(f"{option} must be {expected}; got '{value}'. (")


def test_keys_come_from_a_file_too(tmp_path):
    (tmp_path / "keys").write_text("one\n\n two \n", encoding="utf-8")
    environ = {"CONTINUO_API_KEYS": "zero", "CONTINUO_API_KEY_FILE": str(tmp_path / "keys")}
    assert read_settings(environ=environ).api_keys == ("zero", "one", "two")
    (tmp_path / "empty").write_text("\n")
    for name, why in {"none": "cannot be read: No such file", "empty": "holds no key"}.items():
        with pytest.raises(SettingsError, match=f"The key file .*{name} {why}"):
            read_settings(environ={"CONTINUO_API_KEY_FILE": str(tmp_path / name)})


def test_every_setting_has_its_line_of_help():
    assert {row.name for row in SETTINGS} == set(Settings.__struct_fields__)
    assert all(row.help.endswith((".", ":")) for row in SETTINGS)


def test_public_is_one_switch():
    settings = read_settings({"public": True}, {})
    assert (settings.hosts, settings.proxies) == (("*",), 1)
    assert settings.limit_per_address == "30/minute"


@pytest.mark.parametrize(
    "environ, expected",
    [
        ({"API_KEYS": "k"}, {"limit_per_address": None, "hosts": ("*",)}),
        ({"LIMIT_PER_ADDRESS": "5/hour"}, {"limit_per_address": "5/hour"}),
        ({"HOSTS": "a.example", "PROXIES": "0"}, {"hosts": ("a.example",), "proxies": 0}),
    ],
)
def test_what_is_said_beside_public_holds(environ, expected):
    settings = read_settings(
        {}, {f"CONTINUO_{k}": v for k, v in environ.items()} | {"CONTINUO_PUBLIC": "true"}
    )
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["LIMIT_PER_KEY", "RUNNING_PER_KEY"])
def test_a_limit_for_each_key_needs_keys(name):
    with pytest.raises(SettingsError, match=f"CONTINUO_{name} needs keys"):
        read_settings(environ={f"CONTINUO_{name}": "5" if name.startswith("R") else "5/hour"})
