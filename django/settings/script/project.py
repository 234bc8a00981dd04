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
    return {
        "django_project": 2,
        "django": django.get_version(),
        "settings": values,
        "databases": databases(users.model, users.asked),
        "packer_encoding": packer_encoding(),
        "user": described,
    }


print(json.dumps(project(), sort_keys=True))
