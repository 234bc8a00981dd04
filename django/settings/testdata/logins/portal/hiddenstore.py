from portal.stores import HiddenStore as SessionStore
