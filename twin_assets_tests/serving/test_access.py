import hashlib

import pytest

from twin_assets.documents import ApiKey
from twin_assets.errors import BadInput, NotThere
from twin_assets.serving.access import OPERATOR, Access, Caller, WrongKey, is_loopback, new_key
from twin_assets.stores import Stores
from twin_assets_tests.conftest import setting


@pytest.fixture
def keys(stores: Stores, ada) -> dict[str, str]:
    """A key each for ada and ben."""
    stores.warehouse.profiles.add(ada.model_copy(update={"id": "ben", "name": "Ben"}))
    return {author: give_key(stores, author) for author in ("ada", "ben")}


def give_key(stores: Stores, author: str) -> str:
    token, sha256 = new_key()
    stores.warehouse.profiles.change(author, setting(api_keys=[ApiKey(label="k", sha256=sha256)]))
    return token


def test_a_key_is_recognisable_and_only_its_hash_is_kept(stores, keys):
    assert keys["ada"].startswith("twin_")
    assert len(keys["ada"]) > 40
    kept = stores.warehouse.profiles.get("ada").model_dump_json()
    assert keys["ada"] not in kept
    assert hashlib.sha256(keys["ada"].encode()).hexdigest() in kept


def test_a_key_opens_its_own_author_and_nobody_else(stores, keys):
    access = Access(stores.warehouse, "0.0.0.0")
    caller = access.caller(keys["ada"])
    assert caller == Caller("ada")
    assert [profile.id for profile in access.profiles(caller)] == ["ada"]
    assert access.is_key_of("ada", keys["ada"])
    assert not access.is_key_of("ben", keys["ada"])


def test_another_author_looks_like_one_that_does_not_exist(stores, keys):
    access = Access(stores.warehouse, "0.0.0.0")
    said = []
    for author in ("ben", "nobody"):
        with pytest.raises(NotThere) as error:
            access.profile(Caller("ada"), author)
        said.append(str(error.value).replace(author, "X"))
    assert said[0] == said[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("token", ["wrong", "twin_wrong", "é"])
def test_a_wrong_key_opens_nothing_wherever_the_server_listens(stores, keys, host, token):
    with pytest.raises(WrongKey, match="belongs to no author"):
        Access(stores.warehouse, host).caller(token)


def test_no_key_is_needed_on_this_machine_only(stores, keys):
    assert Access(stores.warehouse, "127.0.0.1").caller(None) == OPERATOR
    with pytest.raises(WrongKey, match="twin key add"):
        Access(stores.warehouse, "0.0.0.0").caller(None)


def test_while_nobody_has_a_key_any_will_do_on_this_machine(stores, ada):
    assert Access(stores.warehouse, "localhost").caller("not-needed") == OPERATOR
    with pytest.raises(WrongKey):
        Access(stores.warehouse, "10.0.0.1").caller("not-needed")


def test_a_removed_key_opens_nothing_at_once(stores, keys):
    access = Access(stores.warehouse, "0.0.0.0")
    access.caller(keys["ada"])
    stores.warehouse.profiles.change("ada", setting(api_keys=[]))
    with pytest.raises(WrongKey):
        access.caller(keys["ada"])


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.4", "example.org"])
def test_listening_for_other_machines_without_any_key_is_refused_with_the_way_out(stores, ada, host):
    with pytest.raises(BadInput, match="twin key add ID"):
        Access(stores.warehouse, host).check_binding(host)
    give_key(stores, "ada")
    Access(stores.warehouse, host).check_binding(host)


LOCAL = {"127.0.0.1": True, "127.8.8.8": True, "::1": True, "localhost": True, "localhost.evil.org": False, "": False}


@pytest.mark.parametrize("host", LOCAL)
def test_what_counts_as_this_machine(host):
    assert is_loopback(host) is LOCAL[host]
