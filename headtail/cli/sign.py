"""`headtail sign BUNDLE --key KEY.pem`."""

from __future__ import annotations

from pathlib import Path

import click

from headtail.cli.console import Console, json_option

__all__ = ["command"]


@click.command("sign")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "key_file",
    required=True,
    type=click.Path(path_type=Path),
    help="PEM file of an Ed25519 private key.",
)
@click.option("--new-key", is_flag=True, help="Make the key first; the file must not exist.")
@click.option("--force", is_flag=True, help="Replace the signature of another key.")
@json_option
def command(bundle: Path, key_file: Path, new_key: bool, force: bool, as_json: bool) -> int:
    """Sign a bundle's folder, and print the public key that servers are to trust.

    A server with the setting trusted_keys takes only bundles signed by one of them.
    """
    console = Console(as_json)
    from headtail.bundle import open_bundle
    from headtail.bundle.signature import make_key, sign
    from headtail.errors import UsageFault

    if bundle.is_file():
        raise UsageFault(
            f"{bundle} is a file.",
            expected="The signature is written into a bundle's folder.",
            remedy="Sign the NAME.bundle folder and pack it afterwards.",
        )
    opened = open_bundle(bundle)
    if new_key:
        make_key(key_file)
    signature = sign(opened, key_file, force=force)
    console.print(f"signed {opened.manifest.bundle_id}")
    console.print(f"public key {signature.public_key}")
    console.finish({"bundle_id": opened.manifest.bundle_id, "public_key": signature.public_key})
    return 0
