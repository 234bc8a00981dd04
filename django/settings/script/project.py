import json

import django
from django.conf import settings


def project():
    users = Users()
    described = users.describe()
    values = {name: plain(getattr(settings, name)) for name in SETTINGS if hasattr(settings, name)}
    for name in SECRETS:
        if hasattr(settings, name):
            values[name] = secret(getattr(settings, name))
    ways = {"session": Sessions(users), "password": Passwords(users), "api": APITokens(users)}
    logins = {name: way.describe() for name, way in ways.items()}
    logins["notes"] = [note for way in ways.values() for note in way.notes]
    return {
        "django_project": 3,
        "django": django.get_version(),
        "settings": values,
        "databases": databases(users.model, users.asked),
        "packer_encoding": packer_encoding(),
        "user": described,
        "logins": logins,
    }


print(json.dumps(project(), sort_keys=True))
