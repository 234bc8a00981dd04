from django.contrib.sessions.backends import cached_db, db

from portal.models import Hidden, Renamed, Visit


class Visits(db.SessionStore):
    """Django's documented way to add a column."""

    @classmethod
    def get_model_class(cls):
        return Visit

    def create_model_instance(self, data):
        return super().create_model_instance(data)


class RenamedStore(db.SessionStore):
    @classmethod
    def get_model_class(cls):
        return Renamed


class HiddenStore(db.SessionStore):
    @classmethod
    def get_model_class(cls):
        return Hidden


class Decoding(cached_db.SessionStore):
    def decode(self, session_data):
        return {}
