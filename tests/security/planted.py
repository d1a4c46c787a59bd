"""Secrets as they stand in texts: sixty kinds, and those that nobody can recognise."""

from __future__ import annotations

KEY = "hunter2Zq8vXw3Kp6"
"""The secret of each text."""

TEXTS = {
    # Addresses
    "user and password of a URL": f"postgres://shop:{KEY}@db:5432/shop",
    "password alone in a URL": f"redis://:{KEY}@cache/0",
    "token as the user of a URL": f"https://{KEY}@git.example/a.git",
    "password with a slash": f"mysql://u:a/{KEY}@h/db",
    "password with an at sign": f"mysql://u:p@{KEY}@h/db",
    "URL with a driver": f"postgresql+psycopg://u:{KEY}@h/db",
    "URL of several hosts": f"mongodb://u:{KEY}@one:1,two:2/db",
    "URL in a URL": f"http://h/?next=http://u:{KEY}@h2/",
    "URL of a broker": f"amqps://u:{KEY}@mq:5671/%2f",
    "URL of a mail server": f"smtp://mail:{KEY}@smtp.example:587",
    "URL of Sentry": f"https://{KEY}@o1.ingest.sentry.example/42",
    "URL in quotes": f"'ftp://u:{KEY}@h'",
    "password in a query": f"https://h/?user=a&password={KEY}&n=1",
    "key in a query": f"https://maps.example/?q=a&key={KEY}",
    "token in a query": f"https://h/cb?access_token={KEY}#x",
    "signature of a query": f"https://s3.example/a?X-Amz-Signature={KEY}",
    "shared signature": f"https://blob.example/a?sv=1&sig={KEY}",
    "secret in a fragment": f"https://h/#id_token={KEY}",
    # Connection strings
    "libpq": f"host=db password={KEY} user=shop",
    "libpq with quotes": f"host=db password='{KEY} and more' user=shop",
    "ODBC": f"Server=db;Uid=shop;Pwd={KEY};",
    "Azure": f"AccountName=a;AccountKey={KEY};EndpointSuffix=x",
    "Azure service bus": f"Endpoint=sb://x/;SharedAccessKey={KEY}",
    "JDBC": f"jdbc:postgresql://h/db?user=a&password={KEY}",
    # Code and data
    "keyword argument": f"Client(token='{KEY}', retries=3)",
    "keyword argument without quotes": f"Client(api_key={KEY}, retries=3)",
    "dictionary": f"{{'PASSWORD': '{KEY}', 'USER': 'a'}}",
    "dictionary with bytes": f"{{'secret': b'{KEY}'}}",
    "JSON": f'{{"api_key": "{KEY}", "n": 1}}',
    "JSON in JSON": f'"{{\\"client_secret\\": \\"{KEY}\\"}}"',
    "camel case": f'{{"accessToken":"{KEY}"}}',
    "item that is set": f'DATABASES["default"]["PASSWORD"] = "{KEY}"',
    "dataclass": f"Settings(name='a', secret_key='{KEY}')",
    "YAML": f"password: {KEY}",
    "Ruby": f"secret => {KEY}",
    "TOML": f'signing_key = "{KEY}"',
    "repr of a local variable": f"password = {KEY!r}",
    "SQL error with its parameters": f"('INSERT ...', {{'name': 'a', 'password': '{KEY}'}})",
    "SQL that sets a password": f"ALTER ROLE shop WITH PASSWORD='{KEY}'",
    "passphrase": f"passphrase={KEY}",
    "licence": f"license_key={KEY}",
    "session": f"session_id={KEY}",
    "credential": f"credential={KEY}",
    "webhook secret": f"WEBHOOK_SECRET={KEY}",
    "encryption key": f"encryption-key={KEY}",
    # Headers
    "bearer": f"Authorization: Bearer {KEY}",
    "basic": f"Authorization: Basic {KEY}==",
    "token": f"Authorization: Token {KEY}",
    "digest": f'Authorization: Digest username="a", response="{KEY}"',
    "tuple of a header": f"(b'authorization', b'Bearer {KEY}')",
    "bearer alone": f"got bearer {KEY} from the cache",
    "header of a key": f"X-Api-Key: {KEY}",
    "header of a token": f"X-Auth-Token: {KEY}",
    "cookie": f"Cookie: sessionid={KEY}; csrftoken={KEY}",
    "cookie that is set": f"Set-Cookie: sessionid={KEY}; HttpOnly",
    # Commands and environment
    "option": f"pg_dump --password {KEY} shop",
    "option with an equals sign": f"pg_dump --password={KEY} shop",
    "option in a list": f"['curl', '--api-token', '{KEY}', 'x']",
    "variable": f"PGPASSWORD={KEY} psql",
    "variable of AWS": f"AWS_SECRET_ACCESS_KEY={KEY}",
    "variable of a pass": f"DB_PASS={KEY}",
    "exported variable": f"export GITHUB_TOKEN={KEY}",
}
"""Texts with a secret that has a name, or a place in an address, by what they are."""

BY_FORM = {
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "GitHub": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "GitLab": "glpat-8Fq3ZxT1mWc7VbNd2LkP",
    "Slack": "xoxb-263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1",
    "webhook of Slack": "hooks.slack.com/services/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",
    "AWS key id": "AKIAIOSFODNN7EXAMPLE",
    "Google": "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe",
    "Stripe": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
}
"""Secrets that stand alone in a text, with a form that only they have."""

PRIVATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu
-----END PRIVATE KEY-----"""

NOT_RECOGNISED = (f"refused: {KEY}", f"the password {KEY} is wrong", f"('a', '{KEY}')")
"""Texts that say nothing of a secret: docs/history.rst says so."""
