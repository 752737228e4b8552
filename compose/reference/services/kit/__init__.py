"""What every service of the reference system shares: settings, tokens, app, client, database."""
