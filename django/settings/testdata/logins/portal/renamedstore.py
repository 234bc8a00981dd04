from portal.stores import RenamedStore as SessionStore
