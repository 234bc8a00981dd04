class Router:
    def db_for_read(self, model, **hints):
        return "people_replica"

    def db_for_write(self, model, **hints):
        return "people"
