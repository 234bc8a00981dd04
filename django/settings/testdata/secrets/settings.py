"""Settings with secrets in all sorts of places. Each begins with hush."""

import os

SECRET_KEY = "hush-key"
SECRET_KEY_FALLBACKS = ["hush-old"]
SESAME_KEY = "hush-sesame"
SESAME_WEBHOOK = "hush-webhook"
SESAME_MAX_AGE = 600
EMAIL_HOST_PASSWORD = "hush-mail"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "TEST": {"PASSWORD": "hush-test"},
        "OPTIONS": {
            "read_default_file": os.environ["OPTION_FILE"],
            "passwd": "hush-database",
            "init_command": "SET @hush = 'hush-init'",
            "ssl": {"ca": "/etc/ca.pem", "cert": "/etc/cert.pem", "key": "/etc/key.pem", "passphrase": "hush-phrase", "other": "hush-ssl"},
            "ssl_key_password": "hush-tls",
        },
    }
}
