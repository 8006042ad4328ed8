"""`flask --app web keys ...` and `secrets ...`: for whoever runs the system."""

import click
from flask.cli import AppGroup

from models.errors import ModelError
from models.repositories import accounts
from models.scope import OPERATIONS
from web import resealing
from web.services import services

keys_cli = AppGroup("keys", help="Create, list and revoke API keys.")
secrets_cli = AppGroup("secrets", help="Look after the secrets kept in rows.")


@secrets_cli.command("reseal")
def reseal() -> None:
    """Seal every secret anew with the first key of UMBEL_SECRET_KEYS; afterwards the others may be taken away."""
    held = services()
    try:
        done = resealing.reseal(held.database, held.settings.secret_keys)
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{done.sealed} sealed anew")
    for place in done.unreadable:
        click.echo(f"no key opens {place}", err=True)
    if done.unreadable:
        raise click.ClickException("Put the missing keys back behind the first, or have these entered anew.")


@keys_cli.command("create")
@click.option("--account", required=True, help="Name of the account; made if there is none.")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--user", default="operator", show_default=True, help="Who acts with it; made if there is none.")
@click.option("--operations", is_flag=True, help="Let it see counts of every account in /metrics.")
def create(account: str, name: str, user: str, operations: bool) -> None:
    """Create a key and print it. It is shown this once."""
    held = services()
    pepper = held.settings.key_pepper.get_secret_value()
    scopes = (accounts.OPERATIONS_SCOPE,) if operations else ()

    key = held.database.run(
        lambda connection: accounts.new_key(connection, OPERATIONS, account, user, name, pepper, scopes=scopes)
    )
    click.echo(key)


@keys_cli.command("list")
def list_keys() -> None:
    """List every key, without its secret."""
    for key in services().database.run(lambda connection: accounts.list_keys(connection, OPERATIONS)):
        state = "revoked" if key.revoked_at else "active"
        used = key.last_used_at.isoformat(timespec="minutes") if key.last_used_at else "never used"
        click.echo(f"{key.public_id}  {state:8}  {key.account}  {key.name}  {used}")


@keys_cli.command("revoke")
@click.argument("public_id")
def revoke(public_id: str) -> None:
    """Revoke the key with PUBLIC_ID, the 12 characters after `umb_`."""
    try:
        services().database.run(lambda connection: accounts.revoke_key(connection, OPERATIONS, public_id))
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"revoked {public_id}; it stops working within seconds")
