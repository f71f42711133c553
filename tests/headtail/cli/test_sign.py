import json

from click.testing import CliRunner

from headtail.bundle import open_bundle, pack_zip
from headtail.bundle.signature import check_trusted
from headtail.cli.sign import command
from headtail.errors import UsageFault
from tests.support.bundles import tiny_bundle


def invoke(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_sign_makes_a_key_once_and_prints_whom_to_trust(tmp_path):
    bundle = tiny_bundle(tmp_path)
    key = tmp_path / "key.pem"
    done = invoke(bundle.path, "--key", key, "--new-key", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["bundle_id"] == bundle.manifest.bundle_id
    check_trusted(open_bundle(bundle.path), [told["public_key"]])
    again = invoke(bundle.path, "--key", key)
    assert f"public key {told['public_key']}" in again.output
    assert isinstance(invoke(bundle.path, "--key", key, "--new-key").exception, UsageFault)


def test_only_folders_are_signed(tmp_path):
    bundle = tiny_bundle(tmp_path)
    pack_zip(bundle, tmp_path / "b.zip")
    found = invoke(tmp_path / "b.zip", "--key", tmp_path / "key.pem").exception
    assert isinstance(found, UsageFault)
    assert "is a file" in found.what
