"""paths.py: where things lie, in a checkout and away from one."""

from pathlib import Path

from lottery_lib import paths


def test_the_root_is_the_checkout():
    assert paths.ROOT == Path(__file__).parents[1]
    assert paths.CLAIMS.is_file()


def test_away_from_a_checkout_the_root_is_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "lottery_lib" / "paths.py"))
    monkeypatch.chdir(tmp_path)
    assert paths._root() == tmp_path
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "pyproject.toml").touch()
    assert paths._root() == tmp_path / "site-packages"


def test_data_lie_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LOTTERY_DATA", str(tmp_path))
    assert paths.data_dir() == tmp_path
    monkeypatch.setenv("LOTTERY_DATA", "")
    assert paths.data_dir() == paths.ROOT / "data"
    monkeypatch.delenv("LOTTERY_DATA")
    assert paths.data_dir() == paths.ROOT / "data"


def test_a_home_folder_is_meant_as_one(monkeypatch):
    monkeypatch.setenv("LOTTERY_DATA", "~/x")
    assert paths.data_dir() == Path.home() / "x"
